import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { Role } from "@millrace/protocol";
import { afterEach, beforeEach, expect, it } from "vitest";
import { runCli } from "../run-cli.ts";
import { MemoryServer } from "../testing/memory-server.ts";
import { runMillrace } from "../testing/run-millrace.ts";

let server: MemoryServer;
let folder: string;
let env: Record<string, string>;

beforeEach(async () => {
  server = await MemoryServer.start();
  server.accounts.add("ada@example.com", "long enough it is");
  folder = await mkdtemp(join(tmpdir(), "millrace-login-"));
  env = { XDG_CONFIG_HOME: folder, MILLRACE_DATA_DIR: join(folder, "data"), MILLRACE_URL: server.url };
});

afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const run = (args: string[], input = "") => runMillrace(args, { env, input });
const file = () => join(folder, "millrace", "credentials.json");

it("logs in with a token of its own for this machine, shows who one is, and logs out", async () => {
  const login = await run(["login"], "ada@example.com\nlong enough it is\n");
  expect(login).toMatchObject({ code: 0, stdout: `ada@example.com is logged in at ${server.url}\n`, stderr: "" });
  expect((await stat(file())).mode & 0o777).toBe(0o600);
  const [token] = server.accounts.tokens.values();
  expect(token).toMatchObject({ name: `millrace on ${hostname()}`, scopes: ["admin"] });
  expect(server.accounts.sessions).toBe(0);

  const me = await run(["whoami"]);
  expect(me.stdout).toMatch(/^email +ada@example\.com\nroles +administrator\nmay +jobs:read, .*\ntoken of +\/.*json/);
  expect((await run(["logout"])).stdout).toContain("is logged out");
  expect(server.accounts.tokens.size).toBe(0);
  const nobody = await run(["whoami"]);
  expect(nobody).toMatchObject({ code: 7, stderr: expect.stringContaining("millrace login") });
  expect(await run(["logout"])).toMatchObject({ code: 4, stderr: expect.stringContaining("nobody is logged in") });
});

it("asks for a new password when the old one has to be changed", async () => {
  const user = server.accounts.add("new@example.com", "one-time", { passwordExpired: true });
  const login = await run(["login", "--email", "new@example.com"], "one-time\nchosen by herself\n");
  expect(login).toMatchObject({ code: 0, stderr: "" });
  expect(server.accounts.passwords.get(user.id)).toBe("chosen by herself");
});

it("lets a person at a terminal choose again when the new password breaks a rule", async () => {
  const user = server.accounts.add("new@example.com", "one-time", { passwordExpired: true });
  const stdin = Object.assign(new PassThrough(), { isTTY: true });
  const asked = [
    "one-time",
    "short",
    "short",
    "chosen by herself",
    "chosen by himself",
    ...Array(2).fill("long enough"),
  ];
  for (const line of [...asked, "chosen by herself", "chosen by herself"]) stdin.write(`${line}\n`);
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const said = text(stderr);
  const setExitCode = (code: number) => expect(code).toBe(0);
  const signal = new AbortController().signal;
  await runCli(["login", "--email", "new@example.com"], { env, stdin, stdout, stderr, signal, setExitCode });
  stderr.end();
  expect(await said).toContain("12 characters at least\n");
  expect(server.accounts.passwords.get(user.id)).toBe("chosen by herself");
});

it("says when the password is wrong, or there is no answer", async () => {
  const wrong = await run(["login", "--email", "ada@example.com"], "wrong\n");
  expect(wrong).toMatchObject({ code: 7, stderr: "millrace: wrong email or password\n" });
  const silent = await run(["login", "--email", "ada@example.com"]);
  expect(silent).toMatchObject({ code: 130, stderr: expect.stringContaining("no answer") });
  await expect(stat(file())).rejects.toThrow("ENOENT");
});

it("keeps a token that somebody has, and does not revoke it", async () => {
  await run(["login"], "ada@example.com\nlong enough it is\n");
  const secret = (await run(["tokens", "create", "mine", "--scope", "read"])).stdout;
  await run(["logout"]);
  expect(await run(["login", "--with-token"], secret)).toMatchObject({ code: 0 });
  expect((await run(["whoami"])).code).toBe(0);
  await run(["logout"]);
  expect(server.accounts.tokens.size).toBe(1);
});

it("takes MILLRACE_TOKEN first, then the login, then what a system on this machine has written", async () => {
  await run(["login"], "ada@example.com\nlong enough it is\n");
  const create = async (name: string) => (await run(["tokens", "create", name, "--scope", "admin"])).stdout.trim();
  const [given, local] = [await create("given"), await create("local")];
  env["MILLRACE_TOKEN"] = given;
  expect((await run(["whoami"])).stdout).toContain("token of  MILLRACE_TOKEN");
  expect((await run(["tokens", "show"])).stdout).toBe(`${given}\n`);
  delete env["MILLRACE_TOKEN"];
  expect((await run(["whoami"])).stdout).toContain(`token of  ${file()}`);
  await run(["logout"]);

  env["MILLRACE_DATA_DIR"] = folder;
  const kept = join(folder, "credentials.json");
  await writeFile(kept, JSON.stringify({ token: local }), { mode: 0o600 });
  await writeFile(join(folder, "runtime.json"), JSON.stringify({ httpUrl: server.url, natsUrl: "nats://none" }));
  expect((await run(["whoami"])).stdout).toContain(`token of  ${kept}`);
  const everywhere = server.url.replace("127.0.0.1", "0.0.0.0");
  await writeFile(join(folder, "runtime.json"), JSON.stringify({ httpUrl: everywhere, natsUrl: "nats://none" }));
  expect((await run(["whoami"])).stdout).toContain(`token of  ${kept}`);
  await writeFile(
    join(folder, "runtime.json"),
    JSON.stringify({ httpUrl: "http://127.0.0.1:9", natsUrl: "nats://none" }),
  );
  expect(await run(["whoami"])).toMatchObject({ code: 7, stderr: expect.stringContaining("`millrace login`") });
  env["MILLRACE_TOKEN"] = "mr_ended";
  expect(await run(["whoami"])).toMatchObject({
    code: 7,
    stderr: expect.stringContaining(`${server.url} does not take the token of MILLRACE_TOKEN`),
  });
});

it("does not use what others may read", async () => {
  await run(["login"], "ada@example.com\nlong enough it is\n");
  await chmod(file(), 0o644);
  expect(await run(["whoami"])).toMatchObject({ code: 7, stderr: expect.stringContaining(`chmod 600 ${file()}`) });
  expect(await readFile(file(), "utf8")).toContain("mr_");
});

it("keeps users", async () => {
  await run(["login"], "ada@example.com\nlong enough it is\n");
  const created = await run(["users", "create", "bob@example.com", "--name", "Bob", "--role", "viewer,plugin-author"]);
  expect(created.stdout).toBe("email     bob@example.com\npassword  made-by-the-server\n");
  const bob = [...server.accounts.users.values()].find(({ email }) => email === "bob@example.com");
  expect(bob?.roles).toEqual([Role.VIEWER, Role.PLUGIN_AUTHOR]);
  expect((await run(["users", "get", "BOB@example.com"])).stdout).toMatch(
    /roles +viewer, plugin-author\nstate +active/,
  );
  expect((await run(["users", "list", "--role", "viewer"])).stdout).toMatch(
    /^ID .*\nu\d+ +bob@example.com +Bob +viewer,/,
  );
  const changed = await run(["users", "update", "bob@example.com", "--role", "operator", "--disable"]);
  expect(changed.stdout).toMatch(/name +Bob\nroles +operator\nstate +disabled/);
  expect((await run(["users", "delete", "bob@example.com"])).stdout).toContain("is signed out everywhere and hidden");
  expect((await run(["users", "get", "bob@example.com"])).stdout).toMatch(/state +deleted/);
  expect((await run(["users", "delete", "bob@example.com"])).stdout).toBe("nothing is kept of bob@example.com\n");
  expect(await run(["users", "get", "bob@example.com"])).toMatchObject({ code: 3 });
  expect(await run(["users", "list", "--role", "king"])).toMatchObject({ code: 2 });
  expect((await run(["users", "invite", "cy@example.com", "--role", "publisher", "--valid", "90m"])).stdout).toBe(
    "code-1\n",
  );
  expect(server.accounts.invitations[0]).toMatchObject({
    email: "cy@example.com",
    validHours: 2,
    roles: [Role.PUBLISHER],
  });
});

it("registers with the code of an invitation", async () => {
  await run(["login"], "ada@example.com\nlong enough it is\n");
  const { stdout: code } = await run(["users", "invite", "fi@example.com"]);
  expect(await run(["register", "fi@example.com"], "guess\nchosen by Fi herself\n")).toMatchObject({ code: 4 });
  expect(await run(["register", "fi@example.com"], `${code}chosen by Fi herself\n`)).toMatchObject({
    code: 0,
    stdout: "fi@example.com is registered: log in with it\n",
  });
  expect(await run(["login", "--email", "fi@example.com"], "chosen by Fi herself\n")).toMatchObject({ code: 0 });
});

it("sets a forgotten password with the code that an administrator hands on", async () => {
  const user = server.accounts.add("di@example.com", "forgotten", { roles: [Role.VIEWER] });
  const said = (await run(["password", "forgot", "di@example.com"])).stdout;
  expect((await run(["password", "forgot", "eve@example.com"])).stdout).toBe(said.replace("di@", "eve@"));
  await run(["login"], "ada@example.com\nlong enough it is\n");
  expect((await run(["users", "list", "--reset-asked"])).stdout).toMatch(
    /di@example\.com +viewer +asks for a new pass/,
  );
  const { stdout: code } = await run(["users", "invite", "di@example.com", "--password-reset"]);
  expect(await run(["password", "reset"], "guess\nchosen anew by Di\n")).toMatchObject({ code: 4 });
  expect(await run(["password", "reset"], `${code}chosen anew by Di\n`)).toMatchObject({ code: 0 });
  expect(server.accounts.passwords.get(user.id)).toBe("chosen anew by Di");
  expect((await run(["users", "list", "--reset-asked"])).stdout).toBe("no users\n");
});

it("asks the server of the command line, else MILLRACE_URL, else the one that runs here", async () => {
  delete env["MILLRACE_URL"];
  const data = join(folder, "data");
  await mkdir(data);
  const runsAt = (httpUrl: string) =>
    writeFile(join(data, "runtime.json"), JSON.stringify({ httpUrl, natsUrl: "nats://none" }));
  await runsAt(server.url);
  const ask = (...args: string[]) => run(["password", "forgot", "ada@example.com", ...args]);
  expect((await ask()).code).toBe(0);
  await runsAt("http://127.0.0.1:9");
  expect(await ask()).toMatchObject({ code: 5, stderr: expect.stringContaining("http://127.0.0.1:9") });
  expect((await ask("--server", server.url)).code).toBe(0);
  env["MILLRACE_URL"] = server.url;
  expect((await ask()).code).toBe(0);
  expect((await ask("--server", "http://127.0.0.1:9")).code).toBe(5);
});

it("keeps tokens", async () => {
  await run(["login"], "ada@example.com\nlong enough it is\n");
  const args = ["--scope", "jobs:submit", "--scope", "jobs:read", "--queue", "builds", "--expires", "+30d"];
  const { stdout } = await run(["tokens", "create", "ci", ...args]);
  expect(stdout).toMatch(/^mr_\S+\n$/);
  const list = (await run(["tokens", "list"])).stdout;
  const [, id = ""] = /^(t\d+) +ci +mr_\S+ +jobs:submit,jobs:read +builds/m.exec(list) ?? [];
  expect((await run(["tokens", "revoke", id])).stdout).toBe(`${id} is revoked\n`);
  expect((await run(["tokens", "revoke", id])).code).toBe(3);
  expect(await run(["tokens", "create", "x"])).toMatchObject({ code: 2, stderr: expect.stringContaining("--scope") });
});
