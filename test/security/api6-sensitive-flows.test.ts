/** API6:2023, unrestricted access to sensitive business flows: what is meant to happen once happens once, and slowly. */
import { AuthService, JobService, SystemService, UserService } from "@millrace/protocol";
import { afterAll, describe, expect, it } from "vitest";
import { doorNames, type Said } from "../lib/doors.ts";
import { Attacker, bearer, secured, strongPassword } from "./attacker.ts";
import { rates } from "./shared-system.ts";

const attacker = new Attacker("api6", 6);
afterAll(() => attacker[Symbol.dispose]());

const administrator = bearer(secured.token);
const { register, resetPassword, requestPasswordReset, login, changePassword, getMe, refresh } = AuthService.method;
const { createInvitation, createUser } = UserService.method;

const codesOf = (all: readonly Said[]): string[] => all.map(({ code }) => code).toSorted();

/** At the same time by every door, each from an address of its own. */
function everywhere(call: (door: ReturnType<Attacker["door"]>, n: number) => Promise<Said>): Promise<Said[]> {
  return Promise.all(attacker.doors().map(([, door], n) => call(door, n)));
}

it("an invitation lets one person in, though four come with it at once", async () => {
  const { answer } = await attacker.door("gRPC")(createInvitation, { roles: ["ROLE_OPERATOR"] }, administrator);
  const invitation = answer["code"] as string;
  const came = await everywhere((door, n) =>
    door(register, { email: `invited-${n}@example.com`, password: strongPassword, invitation }),
  );
  expect(codesOf(came)).toEqual(["failed_precondition", "failed_precondition", "failed_precondition", "ok"]);
  const { users } = await attacker.expectOk<{ users: { roles: string[] }[] }>("GET", "/api/v1/users?search=invited-");
  expect(users.map(({ roles }) => roles)).toEqual([["ROLE_OPERATOR"]]);
});

it("an invitation for one email is of no use with another", async () => {
  const { answer } = await attacker.door("REST")(createInvitation, { email: "a-guest@example.com" }, administrator);
  const invitation = answer["code"] as string;
  const came = await everywhere((door, n) =>
    door(register, { email: `not-the-guest-${n}@example.com`, password: strongPassword, invitation }),
  );
  expect(new Set(codesOf(came))).toEqual(new Set(["failed_precondition"]));
});

it("a code for a new password sets one, though four come with it at once, and ends the sessions", async () => {
  const person = await attacker.person("ROLE_VIEWER");
  const wish = { email: person.email, passwordReset: true };
  const { answer } = await attacker.door("gRPC")(createInvitation, wish, administrator);
  const code = answer["code"] as string;
  const came = await everywhere((door, n) => door(resetPassword, { code, newPassword: `chosen by number ${n}` }));
  expect(codesOf(came)).toEqual(["failed_precondition", "failed_precondition", "failed_precondition", "ok"]);
  const winner = came.findIndex((said) => said.code === "ok");
  await attacker.signIn(person.email, `chosen by number ${winner}`);
  const old = await everywhere((door) => door(refresh, { refreshToken: person.refresh }));
  expect(new Set(codesOf(old))).toEqual(new Set(["unauthenticated"]));
  await expect
    .poll(async () => codesOf(await everywhere((door) => door(getMe, {}, person.headers))))
    .toEqual(Array.from({ length: 4 }, () => "unauthenticated"));
});

it("a code is not guessed: what is wrong with it is said in one way, and not often", async () => {
  const words = new Set<string>();
  const guesses = ["x", "A".repeat(43), "' OR 1=1 --", "0".repeat(128)];
  for (const [n, [, door]] of attacker.doors().entries()) {
    const said = await door(resetPassword, { code: guesses[n] ?? "", newPassword: strongPassword });
    words.add(`${said.code} ${said.message}`);
  }
  expect([...words]).toEqual(["failed_precondition the code is wrong, was used or has expired"]);
});

describe.each(doorNames)("%s", (name) => {
  it("lets the session of a one-time password do nothing but change it, and takes it once", async () => {
    const door = attacker.door(name);
    const email = `once-${name.toLowerCase()}@example.com`;
    const made = await door(createUser, { email, roles: ["ROLE_ADMINISTRATOR"] }, administrator);
    const password = made.answer["password"] as string;
    const { access, headers } = await attacker.signIn(email, password);
    expect(access).not.toBe("");
    for (const method of [UserService.method.listUsers, JobService.method.listJobs, SystemService.method.getInfo]) {
      expect([method.name, (await door(method, {}, headers)).code]).toEqual([method.name, "permission_denied"]);
    }
    expect((await door(changePassword, { currentPassword: password, newPassword: password }, headers)).code).toBe(
      "failed_precondition",
    );
    const change = { currentPassword: password, newPassword: `her own, by ${name}` };
    expect((await door(changePassword, change, headers)).code).toBe("ok");
    expect((await door(login, { email, password })).code).toBe("unauthenticated");
  });
});

describe("a flood from one address", () => {
  it.for(["REST", "gRPC"] as const)("by %s is refused, whatever the flow", async (name) => {
    const door = attacker.door(name);
    const seen = new Set<string>();
    // Before the work: none of these is worth a hash.
    for (let n = 0; n < rates.strangerBurst * 2 && !seen.has("resource_exhausted"); n += 30) {
      const said = await Promise.all(
        Array.from({ length: 10 }, (_, m) => [
          door(register, { email: `flood-${n + m}@example.com`, password: "aaaaaaaaaaaa" }),
          door(resetPassword, { code: `guess ${n + m}`, newPassword: strongPassword }),
          door(requestPasswordReset, { email: `flood-${n + m}@example.com` }),
        ]).flat(),
      );
      for (const { code } of said) seen.add(code);
    }
    expect(seen).toContain("resource_exhausted");
    // Another address is served.
    expect((await attacker.door(name)(requestPasswordReset, { email: "a@example.com" })).code).toBe("ok");
  });
});
