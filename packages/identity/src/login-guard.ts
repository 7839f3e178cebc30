import { createHash } from "node:crypto";
import { isIPv6 } from "node:net";
import { MillraceError } from "@millrace/protocol";
import { emailKey, type DelayPolicy, type IdentityStore } from "@millrace/store";

/** One account: a person mistypes a few times; a guesser gets some 300 tries a day. */
const accountPolicy: DelayPolicy = { free: 5, firstMs: 1_000, longestMs: 300_000 };
/** One address: many people may be behind it. */
const addressPolicy: DelayPolicy = { free: 30, firstMs: 1_000, longestMs: 900_000 };

/** Registrations that nobody was invited to, of one address: a whole office in a day, but no crowd. */
const registrationPolicy: DelayPolicy = { free: 50, firstMs: 1_000, longestMs: 60_000 };

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

  /**
   * @param known addresses that the user is signed in from: there failures count apart, or anybody who knows the email could
   * keep the user out by failing
   * @throws MillraceError `resource_exhausted` with the time to wait; the password is not looked at then
   */
  begin(email: string, address: string, known: readonly string[] = []): Promise<LoginTry> {
    const network = networkOf(address);
    const atHome = address !== "" && known.some((one) => networkOf(one) === network);
    return this.#begin(accountKey(email, atHome ? `@${network}` : ""), address);
  }

  /** Of one who is signed in, and says the password again: no stranger's failures count. @throws as `begin` does */
  beginAgain(email: string, address: string): Promise<LoginTry> {
    return this.#begin(accountKey(email, ":signed-in"), address);
  }

  /** @throws MillraceError `resource_exhausted` when too many have registered from there */
  async beginRegistration(address: string): Promise<void> {
    if (address === "") return;
    const waitMs = await this.#failures.begin(`registration:${networkOf(address)}`, registrationPolicy);
    if (waitMs === 0) return;
    throw new MillraceError("resource_exhausted", "too many registrations: wait before the next", {
      retryAfterMs: waitMs,
    });
  }

  async #begin(account: string, address: string): Promise<LoginTry> {
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

function accountKey(email: string, apart: string): string {
  return `account:${createHash("sha256").update(emailKey(email)).digest("base64url")}${apart}`;
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
