import { MillraceError } from "@millrace/protocol";
import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  ClientSecretPost,
  customFetch,
  discovery,
  enableNonRepudiationChecks,
  fetchUserInfo,
  None,
  type Configuration,
} from "openid-client";
import { boundedFetch } from "./bounded-fetch.ts";
import type { OidcConfig } from "./config.ts";

/** The provider is given so long to answer one request. */
const timeoutSeconds = 10;
const retryAfterMs = 5_000;

/** Who the provider says has signed in. */
export interface OidcAccount {
  /** Issuer and subject: an email may move to somebody else, this does not. */
  readonly key: string;
  /** Undefined unless the provider has verified it. */
  readonly email: string | undefined;
  readonly name: string;
}

/** One OIDC provider, found by its issuer on first use. */
export class OidcProvider {
  readonly config: OidcConfig;
  #found: Promise<Configuration> | undefined;

  constructor(config: OidcConfig) {
    this.config = config;
  }

  /** Where to send the browser: authorization code with PKCE (RFC 7636). @throws MillraceError `unavailable` */
  async authorizationUrl(login: {
    readonly state: string;
    readonly nonce: string;
    readonly codeVerifier: string;
    readonly redirectUri: string;
  }): Promise<string> {
    const provider = await this.#discover();
    return buildAuthorizationUrl(provider, {
      redirect_uri: login.redirectUri,
      scope: "openid email profile",
      code_challenge: await calculatePKCECodeChallenge(login.codeVerifier),
      code_challenge_method: "S256",
      state: login.state,
      nonce: login.nonce,
    }).href;
  }

  /** Trades a code for the account; everything that the provider says is verified. Throws what openid-client throws. */
  async redeem(login: {
    readonly code: string;
    readonly state: string;
    readonly nonce: string;
    readonly codeVerifier: string;
    readonly redirectUri: string;
  }): Promise<OidcAccount> {
    const provider = await this.#discover();
    const back = new URL(login.redirectUri);
    back.searchParams.set("code", login.code);
    back.searchParams.set("state", login.state);
    // RFC 9207: present when the provider promises it, which discovery has told.
    if (provider.serverMetadata().authorization_response_iss_parameter_supported === true) {
      back.searchParams.set("iss", provider.serverMetadata().issuer);
    }
    const answer = await authorizationCodeGrant(provider, back, {
      pkceCodeVerifier: login.codeVerifier,
      expectedState: login.state,
      expectedNonce: login.nonce,
      idTokenExpected: true,
    });
    const claims = answer.claims();
    if (claims === undefined) throw new Error("the provider sent no ID token");
    const { iss, sub } = claims;
    // Providers put these into the ID token or behind the userinfo endpoint (OpenID Connect Core, section 5.4).
    const about =
      claims["email"] === undefined && provider.serverMetadata().userinfo_endpoint !== undefined
        ? await fetchUserInfo(provider, answer.access_token, sub)
        : claims;
    const { email, email_verified: verified, name } = about;
    return {
      key: `${iss} ${sub}`,
      email: typeof email === "string" && verified === true ? email : undefined,
      name: typeof name === "string" ? name : "",
    };
  }

  async #discover(): Promise<Configuration> {
    const { issuer, clientId, clientSecret } = this.config;
    const url = new URL(issuer);
    // Without TLS only on this machine: a provider of a developer.
    const local = url.protocol === "http:" && ["127.0.0.1", "localhost", "[::1]"].includes(url.hostname);
    this.#found ??= discovery(url, clientId, {}, clientSecret === undefined ? None() : ClientSecretPost(clientSecret), {
      timeout: timeoutSeconds,
      [customFetch]: boundedFetch,
      // Signatures of ID tokens are checked though they come from the provider itself: TLS ends at some proxy.
      execute: local ? [allowInsecureRequests, enableNonRepudiationChecks] : [enableNonRepudiationChecks],
    });
    try {
      return await this.#found;
    } catch (error) {
      this.#found = undefined;
      throw new MillraceError("unavailable", "the OIDC provider cannot be reached", { cause: error, retryAfterMs });
    }
  }
}
