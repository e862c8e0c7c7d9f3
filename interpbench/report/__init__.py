"""Reports from run folders: `runs` reads them, `comparison` compares, `formats`, `figures` and `page` present."""
