-- Whose code it is: it ends with what they may do.
ALTER TABLE identity_codes ADD COLUMN created_by text COLLATE "C";

CREATE INDEX identity_codes_by_user ON identity_codes (user_id);
CREATE INDEX identity_codes_by_maker ON identity_codes (created_by);

-- Somebody other than the user has said that the email is theirs. Otherwise whoever registered with it may be anybody.
ALTER TABLE users ADD COLUMN email_vouched boolean NOT NULL DEFAULT true;
