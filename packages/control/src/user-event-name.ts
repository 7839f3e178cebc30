/** What entries of the audit trail tell of users, as events. */
const names = new Map([
  ["UserService/CreateUser", "user.created"],
  ["AuthService/Register", "user.created"],
  ["UserService/ReplaceUser", "user.changed"],
  ["UserService/UpdateUser", "user.changed"],
  ["UserService/DeleteUser", "user.deleted"],
  ["AuthService/Login", "user.signed_in"],
  ["AuthService/CompleteOidcLogin", "user.signed_in"],
  ["AuthService/Logout", "user.signed_out"],
  ["AuthService/ChangePassword", "user.password_changed"],
  ["AuthService/ResetPassword", "user.password_changed"],
]);

/** @returns undefined for an action that does nothing to a user, or that was refused */
export function userEventName(action: string, result: string): string | undefined {
  return result === "ok" ? names.get(action) : undefined;
}
