import { createHash } from "node:crypto";
import { isIPv6 } from "node:net";
import { MillraceError } from "@millrace/protocol";
import { emailKey, type DelayPolicy, type IdentityStore } from "@millrace/store";

/** One account: a person mistypes a few times; a guesser gets some 300 tries a day. */
const accountPolicy: DelayPolicy = { free: 5, firstMs: 1_000, longestMs: 300_000 };
/** One address: many people may be behind it. */
const addressPolicy: DelayPolicy = { free: 30, firstMs: 1_000, longestMs: 900_000 };

/** A try that counts as failed until it says otherwise. */
export interface LoginTry {
  succeeded(): Promise<void>;
  /** It was not decided: for want of room, say. */
  withdraw(): Promise<void>;
}

/** Makes those wait who fail again and again, by account and by address. An account need not exist. */
export class LoginGuard {
  readonly #failures: IdentityStore["loginFailures"];

  constructor(failures: IdentityStore["loginFailures"]) {
    this.#failures = failures;
  }

  /** @throws MillraceError `resource_exhausted` with the time to wait; the password is not looked at then */
  async begin(email: string, address: string): Promise<LoginTry> {
    const account = `account:${createHash("sha256").update(emailKey(email)).digest("base64url")}`;
    const from = address === "" ? undefined : `address:${networkOf(address)}`;
    const failures = this.#failures;
    let waitMs = await failures.begin(account, accountPolicy);
    if (waitMs === 0 && from !== undefined) {
      waitMs = await failures.begin(from, addressPolicy);
      if (waitMs > 0) await failures.forgive(account);
    }
    if (waitMs > 0) {
      throw new MillraceError("resource_exhausted", "too many failed logins: wait before the next", {
        retryAfterMs: waitMs,
      });
    }
    return {
      async succeeded() {
        await failures.clear(account);
        if (from !== undefined) await failures.forgive(from);
      },
      async withdraw() {
        await failures.forgive(account);
        if (from !== undefined) await failures.forgive(from);
      },
    };
  }
}

/** Whoever has one IPv6 address has the 2^64 of its network. */
function networkOf(address: string): string {
  if (!isIPv6(address) || address.includes(".")) return address.replace(/^::ffff:/i, "");
  const [head = "", tail] = address.split("::");
  const first = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  const groups = [...first, ...Array.from({ length: zeros }, () => "0"), ...last];
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}
