ALTER TABLE users DROP COLUMN email_vouched;
ALTER TABLE identity_codes DROP COLUMN created_by;
DROP INDEX identity_codes_by_user;
