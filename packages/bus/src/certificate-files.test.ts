import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { silentLogger } from "./bus-logger.ts";
import { CertificateFiles } from "./certificate-files.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-files-"));
const [ca, cert, key] = ["ca.pem", "worker.pem", "worker.key"].map((name) => join(folder, name)) as [
  string,
  string,
  string,
];
const cli = join(import.meta.dirname, "../../cli/src/main.ts");
const issue = (into: string) => execFileSync(process.execPath, [cli, "certs", into], { stdio: "pipe" });

beforeAll(() => {
  issue(folder);
  issue(join(folder, "other"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("follows its files, and takes a pair only when it fits", async () => {
  const complaint = Promise.withResolvers<object>();
  using files = new CertificateFiles(
    { ca, cert, key },
    { ...silentLogger, warn: (fields) => complaint.resolve(fields) },
  );
  const before = files.current;
  const changed = Promise.withResolvers<void>();
  files.onChange(() => changed.resolve());
  copyFileSync(join(folder, "other/worker.key"), key);
  expect(await complaint.promise).toMatchObject({ err: { message: expect.stringMatching(/key/i) } });
  expect(files.current).toBe(before);
  copyFileSync(join(folder, "other/worker.pem"), cert);
  await changed.promise;
  expect(files.current.cert).not.toBe(before.cert);
  expect(files.current.ca).toBe(before.ca);
});

it("refuses what cannot be used from the start", () => {
  expect(() => new CertificateFiles({ ca: join(folder, "none.pem") }, silentLogger)).toThrow(/ENOENT/);
  const other = join(folder, "other/gateway.key");
  expect(() => new CertificateFiles({ ca, cert, key: other }, silentLogger)).toThrow(/certificates/);
});
