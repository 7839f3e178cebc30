import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { UserSchema, type User } from "@millrace/protocol";
import type { UsersTable } from "./identity-schema.ts";

/** The columns that a User is made of. */
export const userColumns = [
  "id",
  "email",
  "display_name",
  "roles",
  "password_expired",
  "disabled",
  "created_at",
  "updated_at",
  "last_login_at",
  "deleted_at",
  "reset_asked_at",
] as const;

export function toUser(row: Pick<UsersTable, (typeof userColumns)[number]>): User {
  return create(UserSchema, {
    id: row.id,
    email: row.email,
    displayName: row.display_name,
    roles: row.roles,
    disabled: row.disabled,
    createdAt: timestampFromDate(row.created_at),
    updatedAt: timestampFromDate(row.updated_at),
    ...(row.last_login_at === null ? {} : { lastLoginAt: timestampFromDate(row.last_login_at) }),
    ...(row.deleted_at === null ? {} : { deletedAt: timestampFromDate(row.deleted_at) }),
    passwordExpired: row.password_expired,
    ...(row.reset_asked_at === null ? {} : { resetAskedAt: timestampFromDate(row.reset_asked_at) }),
  });
}
