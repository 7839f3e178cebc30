import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { authorizationConfig, createBrokerKeys, tlsConfig } from "@millrace/bus";
import { replaceFile } from "./replace-file.ts";

export interface BrokerConfigOptions {
  /** Folder with `ca.pem`, `nats.pem` and `nats.key`; without it connections are in clear. */
  readonly certificates?: string;
  readonly listen: string;
  /** In front of every subject, stream and bucket. */
  readonly prefix?: string | undefined;
  /** JetStream's domain. */
  readonly domain?: string | undefined;
}

const readable = 0o644;
const secret = 0o600;
/** Above what a service sends in one message. */
const maxPayloadBytes = 2 << 20;

/**
 * Writes what a nats-server is started with: `nats-server.conf`, and what it includes, with a new key for every user. The seeds
 * are in `<user>.seed`, for each service its own and no other.
 */
export async function writeBrokerConfig(folder: string, options: BrokerConfigOptions): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const keys = createBrokerKeys();
  for (const { user, seed } of keys) await replaceFile(join(folder, `${user}.seed`), `${seed}\n`, secret);
  const write = (name: string, text: string): Promise<void> => replaceFile(join(folder, name), text, readable);
  await write("authorization.conf", authorizationConfig(keys, options));
  const { certificates, listen, domain } = options;
  if (certificates !== undefined) await write("tls.conf", tlsConfig(certificatesIn(certificates)));
  const includes = ["authorization.conf", ...(certificates === undefined ? [] : ["tls.conf"])];
  await write(
    "nats-server.conf",
    `server_name: millrace
listen: ${JSON.stringify(listen)}
max_payload: ${maxPayloadBytes}
jetstream { store_dir: ${JSON.stringify(resolve(folder, "jetstream"))}${domain === undefined ? "" : `, domain: ${domain}`} }
${includes.map((name) => `include "${name}"\n`).join("")}`,
  );
}

function certificatesIn(folder: string): { ca: string; cert: string; key: string } {
  const path = (name: string): string => resolve(folder, name);
  return { ca: path("ca.pem"), cert: path("nats.pem"), key: path("nats.key") };
}
