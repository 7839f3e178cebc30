import { fromJsonString } from "@bufbuild/protobuf";
import type { Bus, KvEntry, KvWatch } from "@millrace/bus";
import { PluginKeySchema, refuseSignature, type PluginKey, type PluginVersion } from "@millrace/protocol";

/** Whether plugins without a signature run. One that is signed has to be right in any case. */
export type SignaturePolicy = "optional" | "required";

/** Whose signatures count, as the bucket of keys has them. */
export class TrustedKeys {
  readonly #bus: Bus;
  readonly #policy: SignaturePolicy;
  readonly #keys = new Map<string, PluginKey>();

  constructor(bus: Bus, policy: SignaturePolicy) {
    this.#bus = bus;
    this.#policy = policy;
  }

  /** @param onChange called after each change, those at first included */
  watch(onChange: () => void, onTrouble: (keyId: string, error: unknown) => void): KvWatch {
    return this.#bus.kv("pluginKeys").watch({
      onEntry: (keyId, entry) => {
        try {
          this.#apply(keyId, entry);
        } catch (error) {
          // What cannot be read is not trusted.
          this.#keys.delete(keyId);
          onTrouble(keyId, error);
        }
        onChange();
      },
    });
  }

  /** @returns why a version may not run; undefined when it may */
  async refuse({ manifest, sha256, signature }: PluginVersion): Promise<string | undefined> {
    if (signature === undefined) {
      return this.#policy === "required" ? "it is not signed, and this platform runs signed plugins only" : undefined;
    }
    if (manifest === undefined) return "it has no manifest";
    return refuseSignature({ manifest, sha256 }, signature, this.#keys.values(), Date.now());
  }

  #apply(keyId: string, entry: KvEntry | undefined): void {
    if (entry === undefined) this.#keys.delete(keyId);
    else
      this.#keys.set(
        keyId,
        fromJsonString(PluginKeySchema, new TextDecoder().decode(entry.value), { ignoreUnknownFields: true }),
      );
  }
}
