import { create, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { timestampFromMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { BusError, type Bus, type KvBucket, type KvEntry } from "@millrace/bus";
import {
  MillraceError,
  pluginKeyId,
  PluginKeySchema,
  refuseSignature,
  type PluginKey,
  type PluginVersion,
} from "@millrace/protocol";

/** Whether a plugin must be signed. What is signed must always verify. */
export type SignaturePolicy = "optional" | "required";

/** Of a raw ed25519 public key (RFC 8032). */
const keyBytes = 32;

/** The keys whose signatures count. Several may be trusted at once, so that a new one comes before the old one goes. */
export class PluginKeys {
  readonly #bucket: KvBucket;
  readonly #policy: SignaturePolicy;

  constructor(bus: Bus, policy: SignaturePolicy) {
    this.#bucket = bus.kv("pluginKeys");
    this.#policy = policy;
  }

  /** @returns why this version may not run; undefined when it may */
  async refuse({ manifest, sha256, signature }: PluginVersion): Promise<string | undefined> {
    if (manifest === undefined) return "it has no manifest";
    if (signature === undefined) {
      return this.#policy === "required" ? "it is not signed, and plugins must be signed here" : undefined;
    }
    const entry = await this.#bucket.get(signature.keyId);
    const keys = entry === undefined ? [] : [readKey(entry)];
    return refuseSignature({ manifest, sha256 }, signature, keys, Date.now());
  }

  async all(): Promise<PluginKey[]> {
    return (await this.#bucket.entries()).map(readKey).toSorted((a, b) => (a.keyId < b.keyId ? -1 : 1));
  }

  /**
   * Trusts a key, or changes whose it is and how long it counts.
   * @throws MillraceError invalid_argument, failed_precondition for one that was revoked
   */
  async trust(publicKey: Uint8Array, owner: string, notAfter: Timestamp | undefined): Promise<PluginKey> {
    if (publicKey.length !== keyBytes) {
      const reason = `has ${publicKey.length} bytes; an ed25519 public key has ${keyBytes}`;
      throw new MillraceError("invalid_argument", `public_key: ${reason}`, {
        details: [{ field: "public_key", reason }],
      });
    }
    const keyId = await pluginKeyId(publicKey);
    const entry = await this.#bucket.get(keyId);
    const known = entry === undefined ? undefined : readKey(entry);
    if (known?.revokedAt !== undefined) {
      throw new MillraceError("failed_precondition", `key ${keyId} was revoked; a revoked key is not trusted again`);
    }
    const key = create(PluginKeySchema, {
      keyId,
      publicKey: Uint8Array.from(publicKey),
      owner,
      trustedAt: known?.trustedAt ?? timestampFromMs(Date.now()),
      ...(notAfter === undefined ? {} : { notAfter }),
    });
    await this.#write(key, entry);
    return key;
  }

  /** For good. @throws MillraceError not_found */
  async revoke(keyId: string, reason: string): Promise<PluginKey> {
    const entry = await this.#bucket.get(keyId);
    if (entry === undefined) throw new MillraceError("not_found", `no key ${keyId}`);
    const known = readKey(entry);
    if (known.revokedAt !== undefined) return known;
    const key = create(PluginKeySchema, {
      ...known,
      revokedAt: timestampFromMs(Date.now()),
      revokedReason: reason,
    });
    await this.#write(key, entry);
    return key;
  }

  async #write(key: PluginKey, before: KvEntry | undefined): Promise<void> {
    const value = new TextEncoder().encode(toJsonString(PluginKeySchema, key));
    try {
      if (before === undefined) await this.#bucket.create(key.keyId, value);
      else await this.#bucket.update(key.keyId, value, before.revision);
    } catch (error) {
      if (!(error instanceof BusError) || !["aborted", "already_exists"].includes(error.code)) throw error;
      throw new MillraceError("aborted", `key ${key.keyId} was changed by somebody else`, { cause: error });
    }
  }
}

function readKey(entry: KvEntry): PluginKey {
  return fromJsonString(PluginKeySchema, new TextDecoder().decode(entry.value), { ignoreUnknownFields: true });
}
