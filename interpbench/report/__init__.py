"""From run folders to tables, pictures and a page: `runs` reads, `tables` compares, `formats`, `figures` and `page` show."""
