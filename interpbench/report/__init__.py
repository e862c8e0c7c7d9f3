"""Reports from run folders: `folders` finds them and `runs` names them, `comparison` compares (with `statistics` and
`chance`), `statements` says what follows, `formats`, `figures` and `page` present.
"""
