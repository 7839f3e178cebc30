/** API2:2023, broken authentication: guessing, enumerating, weak passwords, credentials in the wrong place. */
import type { JsonObject } from "@bufbuild/protobuf";
import { AuthService, JobService, UserService } from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { doorNames, type Door } from "../lib/doors.ts";
import { Attacker, secured, strongPassword, type Person } from "./attacker.ts";

const attacker = new Attacker("api2", 2);
afterAll(() => attacker[Symbol.dispose]());

const { login, requestPasswordReset, register, changePassword } = AuthService.method;
const guess = "not the password";

async function addUser(email: string): Promise<string> {
  const wish = { email, password: strongPassword };
  return (await attacker.expectOk<{ user: { id: string } }>("POST", "/api/v1/users", wish)).user.id;
}

describe("whether an account exists", () => {
  beforeAll(async () => {
    await addUser("known@example.com");
    await attacker.expectOk("PATCH", `/api/v1/users/${await addUser("off@example.com")}`, { disabled: true });
    await attacker.expectOk("DELETE", `/api/v1/users/${await addUser("gone@example.com")}`);
  });

  it.for(doorNames)("does not show in the words of %s", async (name) => {
    const door = attacker.door(name);
    const words = new Set<string>();
    for (const [email, password] of [
      ["nobody@example.com", strongPassword],
      ["known@example.com", guess],
      ["off@example.com", strongPassword],
      ["gone@example.com", strongPassword],
    ] as const) {
      const said = await door(login, { email, password });
      words.add(`${said.code} ${said.message} ${Object.keys(said.headers).toSorted().join()}`);
    }
    expect([...words]).toEqual([expect.stringMatching(/^unauthenticated email or password is wrong /)]);
    for (const email of ["nobody@example.com", "known@example.com"]) {
      expect(await door(requestPasswordReset, { email })).toMatchObject({ code: "ok", answer: {} });
    }
    // Where everybody may register, a known email is answered like a new one.
    const person = { email: "known@example.com", password: strongPassword };
    const known = await door(register, person);
    const fresh = await door(register, { ...person, email: `fresh-${name}@example.com` });
    const shape = ({ code, answer }: typeof known) => [code, Object.keys(answer["user"] as JsonObject).toSorted()];
    expect(shape(known)).toEqual(shape(fresh));
  });

  it.for(["REST", "gRPC"] as const)("does not show in the time that %s takes", async (name) => {
    const accounts = ["a", "b"].map((one) => `timed-${one}-${name}@example.com`);
    for (const email of accounts) await addUser(email);
    const door = attacker.door(name);
    const time = async (email: string): Promise<number> => {
      const since = performance.now();
      await door(login, { email, password: guess });
      return performance.now() - since;
    };
    const [known, unknown]: [number[], number[]] = [[], []];
    for (const email of [...accounts, ...accounts]) {
      known.push(await time(email));
      unknown.push(await time(`no-${email}`));
    }
    // Hashing is most of the time, some thirty times the rest; it must be done for both.
    expect(Math.min(...unknown)).toBeGreaterThan(Math.min(...known) / 2);
  });
});

describe("who guesses a password", () => {
  it.for(["known", "unknown"])("of a %s account has to wait, whatever the door and the address", async (kind) => {
    const email = `guessed-${kind}@example.com`;
    if (kind === "known") await addUser(email);
    const codes: string[] = [];
    for (let n = 0; n < 6; n++) {
      const door = attacker.door(doorNames[n % doorNames.length] ?? "REST");
      codes.push((await door(login, { email, password: `${guess} ${n}` })).code);
    }
    expect(codes).toEqual(codes.map(() => "unauthenticated"));
    // At once: the wait begins with a second. The right password has to wait too, or it would tell that it is right.
    const late = await Promise.all(
      attacker.doors().map(([, door]) => door(login, { email, password: strongPassword })),
    );
    for (const said of late) expect(said).toMatchObject({ code: "resource_exhausted" });
    for (const said of late) expect(Number(said.headers["retry-after"])).toBeGreaterThanOrEqual(1);
  });
});

let person: Person;
beforeAll(async () => {
  person = await attacker.person("ROLE_VIEWER");
});

describe.each(doorNames)("%s", (name) => {
  const door = attacker.door(name);

  it("takes no weak password, wherever one is set", async () => {
    const email = `weak-${name.toLowerCase()}@example.com`;
    const { headers } = person;
    const administrator = { authorization: `Bearer ${secured.token}` };
    const places: [string, (password: string) => ReturnType<Door>][] = [
      ["register", (password) => door(register, { email, password })],
      ["create", (password) => door(UserService.method.createUser, { email, password }, administrator)],
      ["change", (newPassword) => door(changePassword, { currentPassword: strongPassword, newPassword }, headers)],
      ["reset", (newPassword) => door(AuthService.method.resetPassword, { code: "any", newPassword })],
    ];
    for (const [place, set] of places) {
      for (const weak of ["short", "aaaaaaaaaaaaaaaa", "abababababab", "x".repeat(2_000)]) {
        expect([place, weak.slice(0, 20), (await set(weak)).code]).toEqual([
          place,
          weak.slice(0, 20),
          "invalid_argument",
        ]);
      }
    }
    expect((await door(register, { email, password: email.toUpperCase() })).code).toBe("invalid_argument");
  });

  it("changes no password for who does not know the present one", async () => {
    const { headers } = person;
    const wish = { currentPassword: guess, newPassword: "another good password" };
    expect((await door(changePassword, wish, headers)).code).toBe("failed_precondition");
    expect((await door(changePassword, { newPassword: wish.newPassword }, headers)).code).toBe("invalid_argument");
  });

  it("takes credentials from the header or the cookie, and from nowhere else", async () => {
    const { access, email } = person;
    const elsewhere: Record<string, string>[] = [
      { "x-access-token": access },
      { "x-authorization": `Bearer ${access}` },
      { "proxy-authorization": `Bearer ${access}` },
      { authorization: access },
      { authorization: `Token ${access}` },
      { authorization: `Basic ${Buffer.from(`${email}:${strongPassword}`).toString("base64")}` },
      { cookie: `token=${access}; mr_refresh=${access}` },
    ];
    for (const headers of elsewhere) {
      const said = await door(JobService.method.listJobs, {}, headers);
      expect([Object.keys(headers), said.code]).toEqual([Object.keys(headers), "unauthenticated"]);
    }
  });
});

it("a password that was tried at every door is the one that it was", async () => {
  await attacker.signIn(person.email);
});

it("a token in an address is no credential", async () => {
  const { access } = person;
  for (const query of [`access_token=${access}`, `token=${access}`, `authorization=Bearer%20${access}`]) {
    for (const path of ["/api/v1/jobs", "/millrace.jobs.v1.JobService/ListJobs", "/metrics"]) {
      const response = await attacker.fetch(`${path}?${query}`);
      // 400, 415: it does not even get that far.
      expect([400, 401, 415], path).toContain(response.status);
      await response.body?.cancel();
    }
  }
});
