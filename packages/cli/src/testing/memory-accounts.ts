import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampNow } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import {
  ApiTokenSchema,
  permissions,
  Role,
  UserSchema,
  type ApiToken,
  type AuthService,
  type CreateInvitationRequest,
  type TokenService,
  type User,
  type UserService,
} from "@millrace/protocol";

/** Users, sessions and tokens in memory; what the command says about them. */
export class MemoryAccounts {
  readonly users = new Map<string, User>();
  readonly passwords = new Map<string, string>();
  readonly tokens = new Map<string, ApiToken>();
  readonly invitations: CreateInvitationRequest[] = [];
  /** Users by what they may come in with: secrets of tokens and access tokens. */
  readonly #secrets = new Map<string, User>();
  #made = 0;

  add(email: string, password: string, more: Partial<Pick<User, "roles" | "passwordExpired">> = {}): User {
    const id = `u${++this.#made}`;
    const user = create(UserSchema, { id, email, roles: [Role.ADMINISTRATOR], createdAt: timestampNow(), ...more });
    this.users.set(id, user);
    this.passwords.set(id, password);
    return user;
  }

  /** Sessions that have not ended. */
  get sessions(): number {
    return [...this.#secrets.keys()].filter((secret) => secret.startsWith("access-")).length;
  }

  /** @throws ConnectError unauthenticated */
  callerOf({ requestHeader }: Pick<HandlerContext, "requestHeader">): User {
    const user = this.#secrets.get(secretOf(requestHeader));
    if (user === undefined) throw new ConnectError("who are you?", Code.Unauthenticated);
    return user;
  }

  readonly auth: Partial<ServiceImpl<typeof AuthService>> = {
    login: ({ email, password }) => {
      const user = [...this.users.values()].find((one) => one.email === email);
      if (user === undefined || this.passwords.get(user.id) !== password) {
        throw new ConnectError("wrong email or password", Code.Unauthenticated);
      }
      const accessToken = `access-${++this.#made}`;
      this.#secrets.set(accessToken, user);
      return { user, tokens: { accessToken, accessExpiresAt: timestampFromMs(Date.now() + 900_000) } };
    },
    logout: (_, call) => {
      this.#secrets.delete(secretOf(call.requestHeader));
      return {};
    },
    requestPasswordReset: ({ email }) => {
      const user = [...this.users.values()].find((one) => one.email === email);
      if (user !== undefined) user.resetAskedAt = timestampNow();
      return {};
    },
    register: ({ email, password, invitation }) => {
      if (invitation !== "code-1") throw new ConnectError("the code is wrong", Code.FailedPrecondition);
      return { user: this.add(email, password) };
    },
    resetPassword: ({ code, newPassword }) => {
      const email = code === "code-1" ? this.invitations.find((one) => one.passwordReset)?.email : undefined;
      const user = [...this.users.values()].find((one) => one.email === email);
      if (user === undefined) throw new ConnectError("the code is wrong", Code.FailedPrecondition);
      this.passwords.set(user.id, newPassword);
      delete user.resetAskedAt;
      return {};
    },
    getMe: (_, call) => ({ user: this.callerOf(call), permissions: [...permissions] }),
    changePassword: ({ currentPassword, newPassword }, call) => {
      const user = this.callerOf(call);
      if (this.passwords.get(user.id) !== currentPassword) throw new ConnectError("wrong", Code.Unauthenticated);
      if (newPassword.length < 12) throw new ConnectError("12 characters at least", Code.InvalidArgument);
      this.passwords.set(user.id, newPassword);
      user.passwordExpired = false;
      // As it is with a server: a new password ends the sessions.
      this.#secrets.delete(secretOf(call.requestHeader));
      return {};
    },
  };

  readonly tokenService: Partial<ServiceImpl<typeof TokenService>> = {
    createToken: ({ name, scopes, queues, types, expiresAt }, call) => {
      const user = this.callerOf(call);
      if (user.passwordExpired) throw new ConnectError("change the password first", Code.PermissionDenied);
      const id = `t${++this.#made}`;
      const secret = `mr_${id}`;
      const expires = expiresAt === undefined ? {} : { expiresAt };
      const token = create(ApiTokenSchema, {
        id,
        name,
        scopes,
        queues,
        types,
        hint: secret,
        userId: user.id,
        ...expires,
      });
      this.tokens.set(id, token);
      this.#secrets.set(secret, user);
      return { token, secret };
    },
    listTokens: (_, call) => {
      const { id } = this.callerOf(call);
      return { tokens: [...this.tokens.values()].filter(({ userId }) => userId === id) };
    },
    revokeToken: ({ id }, call) => {
      this.callerOf(call);
      if (!this.tokens.delete(id)) throw new ConnectError(`no token ${id}`, Code.NotFound);
      this.#secrets.delete(`mr_${id}`);
      return {};
    },
  };

  readonly userService: Partial<ServiceImpl<typeof UserService>> = {
    listUsers: ({ search, role, resetAsked }, call) => {
      this.callerOf(call);
      const users = [...this.users.values()].filter(
        (user) =>
          user.email.includes(search.toLowerCase()) &&
          (role === Role.UNSPECIFIED || user.roles.includes(role)) &&
          (!resetAsked || user.resetAskedAt !== undefined),
      );
      return { users };
    },
    getUser: ({ id }) => ({ user: this.#find(id) }),
    createUser: ({ email, displayName, roles }) => {
      const user = this.add(email, "made-by-the-server", { roles, passwordExpired: true });
      user.displayName = displayName;
      return { user, password: "made-by-the-server" };
    },
    updateUser: ({ id, updateMask, ...fields }) => {
      const user = this.#find(id);
      for (const path of updateMask?.paths ?? []) {
        if (path === "email") user.email = fields.email;
        else if (path === "display_name") user.displayName = fields.displayName;
        else if (path === "roles") user.roles = fields.roles;
        else if (path === "disabled") user.disabled = fields.disabled;
      }
      return { user };
    },
    deleteUser: ({ id, purge }) => {
      const user = this.#find(id);
      const purged = purge || user.deletedAt !== undefined;
      if (purged) this.users.delete(id);
      else user.deletedAt = timestampNow();
      return { purged };
    },
    createInvitation: (request) => {
      this.invitations.push(request);
      return { code: "code-1" };
    },
  };

  #find(id: string): User {
    const user = this.users.get(id);
    if (user === undefined) throw new ConnectError(`no user ${id}`, Code.NotFound);
    return user;
  }
}

function secretOf(headers: Headers): string {
  return headers.get("authorization")?.replace(/^Bearer /, "") ?? "";
}
