import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { AuthService, type TokenPair } from "@millrace/protocol";

export interface Login {
  readonly email: string;
  readonly password: string;
}

/** Clocks differ, and a call is on its way for a while. */
const earlyMs = 30_000;

/**
 * Says with every call who calls; works with any transport of Connect's, so also by gRPC.
 * @param token for programs (`mr_…`), or an access token
 */
export function bearerToken(token: string): Interceptor {
  return (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
}

/**
 * As `bearerToken`, for a user who is signed in at the first call. The session is renewed in time, and begun again when it was
 * ended.
 * @param transport leads to the same server, without this interceptor
 */
export function bearerLogin(login: Login, transport: Transport): Interceptor {
  const session = new SignedIn(login, transport);
  return (next) => async (request) => {
    const sent = await session.accessToken();
    request.header.set("authorization", `Bearer ${sent}`);
    try {
      return await next(request);
    } catch (reason) {
      if (ConnectError.from(reason).code !== Code.Unauthenticated) throw reason;
      session.forget(sent);
      // The messages of a stream are gone.
      if (request.stream) throw reason;
      request.header.set("authorization", `Bearer ${await session.accessToken()}`);
      return next(request);
    }
  };
}

class SignedIn {
  readonly #login: Login;
  readonly #auth;
  #tokens: TokenPair | undefined;
  /** One at a time: a refresh token that is used twice ends the session. */
  #renewing: Promise<TokenPair> | undefined;

  constructor(login: Login, transport: Transport) {
    this.#login = login;
    this.#auth = createClient(AuthService, transport);
  }

  async accessToken(): Promise<string> {
    const tokens = this.#tokens;
    const { accessToken } = tokens !== undefined && isFresh(tokens.accessExpiresAt) ? tokens : await this.#renew();
    return accessToken;
  }

  /** The server does not take this access token, though it has not expired. */
  forget(accessToken: string): void {
    if (this.#tokens?.accessToken === accessToken) this.#tokens = undefined;
  }

  #renew(): Promise<TokenPair> {
    this.#renewing ??= this.#nextPair()
      .then((tokens) => (this.#tokens = tokens))
      .finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  async #nextPair(): Promise<TokenPair> {
    if (this.#tokens !== undefined && isFresh(this.#tokens.refreshExpiresAt)) {
      try {
        return pairOf(await this.#auth.refresh({ refreshToken: this.#tokens.refreshToken }));
      } catch (reason) {
        if (ConnectError.from(reason).code !== Code.Unauthenticated) throw reason;
      }
    }
    return pairOf(await this.#auth.login({ ...this.#login }));
  }
}

function isFresh(expiresAt: TokenPair["accessExpiresAt"]): boolean {
  return expiresAt !== undefined && timestampMs(expiresAt) - earlyMs > Date.now();
}

function pairOf({ tokens }: { tokens?: TokenPair | undefined }): TokenPair {
  if (tokens === undefined) throw new ConnectError("the server gave no tokens", Code.Internal);
  return tokens;
}
