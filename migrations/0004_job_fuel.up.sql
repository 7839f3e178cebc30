-- What ran the last attempt, as name@version, and the fuel that it used; null for a native handler.
ALTER TABLE jobs ADD COLUMN plugin text, ADD COLUMN fuel bigint;
