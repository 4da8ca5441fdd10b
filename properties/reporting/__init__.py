"""Reports of runs as files: JSON with a schema, JUnit, a page; merged and compared."""
