"""From run folders to a report: `runs` reads, `tables` compares, `formats`, `figures` and `page` show."""
