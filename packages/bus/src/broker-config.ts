import { nkeys } from "nats";
import type { NamespaceOptions } from "./namespace.ts";
import { brokerUsers, permissionsOf, type BrokerUser } from "./broker-users.ts";

/** An nkey: the broker knows the public half, the service proves that it holds the seed. */
export interface BrokerKey {
  readonly user: BrokerUser;
  /** `U…`, no secret. */
  readonly publicKey: string;
  /** `SU…`, for the user's own eyes. */
  readonly seed: string;
}

/** Files in PEM, as the broker's process finds them. */
export interface BrokerCertificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export function createBrokerKeys(): BrokerKey[] {
  return brokerUsers.map((user) => {
    const pair = nkeys.createUser();
    const seed = new TextDecoder().decode(pair.getSeed());
    return { user, publicKey: pair.getPublicKey(), seed };
  });
}

/** The users of the broker and what each may do. Keys that are not given are the broker's environment's: `MILLRACE_NKEY_<USER>`. */
export function authorizationConfig(
  keys: readonly Pick<BrokerKey, "user" | "publicKey">[] = [],
  options: NamespaceOptions = {},
): string {
  const users = brokerUsers.map((user) => {
    const { publish, neverPublish, subscribe } = permissionsOf(user, options);
    const denied = neverPublish.length === 0 ? "" : `, deny: [${quoted(neverPublish)}]`;
    const key = keys.find((one) => one.user === user)?.publicKey ?? `$MILLRACE_NKEY_${user.toUpperCase()}`;
    return `    {
      # ${user}
      nkey: ${key}
      permissions: {
        publish: { allow: [${quoted(publish)}]${denied} }
        subscribe: { allow: [${quoted(subscribe)}] }
      }
    }`;
  });
  return `# Written from packages/bus/src/broker-users.ts, which says why.
authorization {
  timeout: 5
  users: [
${users.join("\n")}
  ]
}
`;
}

/** Connections by TLS only, of clients with a certificate of the same authority. */
export function tlsConfig({ ca, cert, key }: BrokerCertificates): string {
  return `tls {
  ca_file: ${JSON.stringify(ca)}
  cert_file: ${JSON.stringify(cert)}
  key_file: ${JSON.stringify(key)}
  verify: true
  timeout: 5
}
`;
}

function quoted(subjects: readonly string[]): string {
  return subjects.map((subject) => `\n          "${subject}"`).join("");
}
