import { MillraceError, Role, RoleSchema } from "@millrace/protocol";

/** As the contract says for those who choose one. */
const shortestPassword = 12;
const longestPassword = 1024;
// One @ with something on both sides, and nothing that breaks a header or a line of text, or cannot be seen: two that look alike
// would be two users. Whether it exists, mail tells.
const emailPattern = /^[^\s@\p{C}<>()[\],;:"\\]+@[^\s@\p{C}<>()[\],;:"\\]+$/u;
// Lines and terminals, and what turns the direction of the text that follows. Joiners are letters of some scripts.
const unprintable = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u{202a}-\u{202e}\u{2066}-\u{2069}]/u;

/** @throws MillraceError `invalid_argument` */
export function checkEmail(email: string): void {
  if (!emailPattern.test(email.trim())) throw invalid("email", "must look like name@example.com");
}

/** @throws MillraceError `invalid_argument` */
export function checkDisplayName(name: string): void {
  if (unprintable.test(name)) throw invalid("display_name", "must be printable text of one line");
}

/** Length counts, not kinds of letters (NIST SP 800-63B, section 5.1.1.2). @throws MillraceError `invalid_argument` */
export function checkPassword(password: string, email: string, field = "password"): void {
  const length = [...password].length;
  if (length < shortestPassword || password.length > longestPassword) {
    throw invalid(field, `must have ${shortestPassword} to ${longestPassword} characters`);
  }
  if (email !== "" && password.toLowerCase() === email.trim().toLowerCase()) {
    throw invalid(field, "must not be the email");
  }
  if (new Set(password).size < 4) throw invalid(field, "must have at least 4 different characters");
}

/** @throws MillraceError `invalid_argument` for a role that does not exist, once for each user */
export function checkRoles(roles: readonly Role[]): Role[] {
  const unknown = roles.findIndex((role) => role === Role.UNSPECIFIED || RoleSchema.value[role] === undefined);
  if (unknown >= 0) throw invalid(`roles[${unknown}]`, "must be a role");
  return [...new Set(roles)].toSorted((a, b) => a - b);
}

export function invalid(field: string, reason: string): MillraceError {
  return new MillraceError("invalid_argument", `${field} ${reason}`, { details: [{ field, reason }] });
}
