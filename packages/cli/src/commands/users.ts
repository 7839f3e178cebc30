import type { Command } from "commander";
import {
  CreateInvitationResponseSchema,
  CreateUserResponseSchema,
  GetUserResponseSchema,
  ListUsersResponseSchema,
  UpdateUserResponseSchema,
  type Role,
  type User,
} from "@millrace/protocol";
import { withSession, type CliContext } from "../cli-context.ts";
import { findUserId } from "../find-user-id.ts";
import { formatTime } from "../format-job.ts";
import { formatFields } from "../format-table.ts";
import { table } from "../output.ts";
import { duration, wholeNumber } from "../parse-options.ts";
import { parseRole, roleName, roles } from "../role-name.ts";

interface ListOptions {
  readonly role?: Role;
  readonly search?: string;
  readonly orderBy?: string;
  readonly deleted?: boolean;
  readonly resetAsked?: boolean;
  readonly limit: number;
  readonly pageToken?: string;
}

interface UpdateOptions {
  readonly email?: string;
  readonly name?: string;
  readonly role?: readonly Role[];
  readonly disable?: boolean;
  readonly enable?: boolean;
}

interface InviteOptions {
  readonly role?: readonly Role[];
  readonly valid?: number;
  readonly passwordReset?: boolean;
}

const hourMs = 3_600_000;

/** `users list|get|create|update|delete|invite`. */
export function userCommands(program: Command, context: CliContext): void {
  const users = program.command("users").description("who may come in, and as what");
  const call = { signal: context.signal };

  users
    .command("list")
    .description("list users")
    .option("--role <role>", "only with this role", parseRole)
    .option("--search <text>", "part of the email or name")
    .option("--order-by <field>", "email, created_at or last_login_at; -email for the other direction")
    .option("--deleted", "also the deleted ones that are still kept")
    .option("--reset-asked", "only those who have asked for a new password")
    .option("-n, --limit <n>", "users on a page", wholeNumber, 50)
    .option("--page-token <token>", "the next page")
    .action(async (options: ListOptions, command: Command) => {
      const { role, search = "", orderBy = "", deleted = false, resetAsked = false, limit, pageToken = "" } = options;
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.users.listUsers(
          {
            search,
            orderBy,
            includeDeleted: deleted,
            resetAsked,
            pageSize: limit,
            pageToken,
            ...(role === undefined ? {} : { role }),
          },
          call,
        );
        output.message(ListUsersResponseSchema, response, () =>
          table(response.users, userColumns, "no users", response.nextPageToken),
        );
      });
    });

  users
    .command("get")
    .description("show a user")
    .argument("<user>", "email or id")
    .action(async (user: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.users.getUser({ id: await findUserId(client, user, call) }, call);
        output.message(GetUserResponseSchema, response, () => formatUser(response.user));
      });
    });

  users
    .command("create")
    .description("make a user, and print the password for the first login, this once")
    .argument("<email>")
    .option("--name <name>", "to be shown")
    .option("--role <role>", "viewer, publisher, plugin-author, operator, administrator; several", roles)
    .action(async (email: string, { name = "", role }: { name?: string; role?: Role[] }, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.users.createUser({ email, displayName: name, roles: role ?? [] }, call);
        output.message(CreateUserResponseSchema, response, () =>
          formatFields([
            ["email", response.user?.email ?? email],
            ["password", response.password],
          ]),
        );
      });
    });

  users
    .command("update")
    .description("change what is named")
    .argument("<user>", "email or id")
    .option("--email <address>", "a new one")
    .option("--name <name>", "to be shown")
    .option("--role <role>", "instead of those held; several", roles)
    .option("--disable", "may not sign in any more")
    .option("--enable", "may sign in again")
    .action(async (user: string, { email, name, role, disable, enable }: UpdateOptions, command: Command) => {
      const disabled = disable === true ? true : enable === true ? false : undefined;
      const changes = { email, displayName: name, roles: role?.slice(), disabled };
      const named = Object.entries(changes).filter(([, value]) => value !== undefined);
      await withSession(context, command, async ({ client, output }) => {
        const id = await findUserId(client, user, call);
        const paths = named.map(([field]) => (field === "displayName" ? "display_name" : field));
        const response = await client.users.updateUser(
          { id, ...Object.fromEntries(named), updateMask: { paths } },
          call,
        );
        output.message(UpdateUserResponseSchema, response, () => formatUser(response.user));
      });
    });

  users
    .command("delete")
    .description("sign a user out everywhere, and hide it; the second time nothing is kept")
    .argument("<user>", "email or id")
    .option("--purge", "keep nothing")
    .action(async (user: string, { purge = false }: { purge?: boolean }, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const id = await findUserId(client, user, call);
        const { purged } = await client.users.deleteUser({ id, purge }, call);
        output.document({ id, purged }, () =>
          purged
            ? `nothing is kept of ${user}`
            : `${user} is signed out everywhere and hidden; deleted again, nothing is kept`,
        );
      });
    });

  users
    .command("invite")
    .description("print a code to register with, or to set a new password with")
    .argument("[email]", "who may use it; anybody who has it when left out", "")
    .option("--role <role>", "of the new user; several", roles)
    .option("--valid <duration>", "such as 48h (default: 7d)", duration)
    .option("--password-reset", "for a user who has forgotten the password")
    .action(async (email: string, { role, valid, passwordReset }: InviteOptions, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.users.createInvitation(
          {
            email,
            roles: [...(role ?? [])],
            validHours: valid === undefined ? 0 : Math.max(1, Math.ceil(valid / hourMs)),
            passwordReset: passwordReset === true,
          },
          call,
        );
        output.message(CreateInvitationResponseSchema, response, () => response.code);
      });
    });
}

function formatUser(user: User | undefined): string {
  if (user === undefined) return "no such user";
  return formatFields([
    ["id", user.id],
    ["email", user.email],
    ["name", user.displayName],
    ["roles", user.roles.map(roleName).join(", ")],
    ["state", stateOf(user)],
    ["created", formatTime(user.createdAt)],
    ["last login", formatTime(user.lastLoginAt)],
    ["password", user.passwordExpired ? "has to be changed" : ""],
    ["reset asked", formatTime(user.resetAskedAt)],
  ]);
}

function stateOf(user: User): string {
  if (user.deletedAt !== undefined) return "deleted";
  if (user.disabled) return "disabled";
  return user.resetAskedAt === undefined ? "active" : "asks for a new password";
}

const userColumns = [
  { head: "id", cell: (user: User) => user.id },
  { head: "email", cell: (user: User) => user.email },
  { head: "name", cell: (user: User) => user.displayName },
  { head: "roles", cell: (user: User) => user.roles.map(roleName).join(",") },
  { head: "state", cell: stateOf },
  { head: "last login", cell: (user: User) => formatTime(user.lastLoginAt) },
];
