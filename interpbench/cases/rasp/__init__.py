"""RASP programs: defining a case by one, compiling it, keeping the compiled reference."""
