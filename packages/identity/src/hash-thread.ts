import { hashSync, verifySync } from "@node-rs/argon2";
import { passwordCosts } from "./password-costs.ts";

/** To a thread that hashes passwords. Without `encoded` a new hash is wanted, with it whether the password is its own. */
export interface HashWish {
  readonly password: string;
  readonly encoded?: string;
}

/** What such a thread does. */
export function hash({ password, encoded }: HashWish): string | boolean {
  return encoded === undefined ? hashSync(password, passwordCosts) : verifySync(encoded, password);
}
