import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { runMillrace } from "../testing/run-millrace.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-certs-"));
const read = (name: string) => new X509Certificate(readFileSync(join(folder, name)));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("issues certificates that say which service it is and what it may be used for", async () => {
  expect((await runMillrace(["certs", folder, "--host", "broker.internal", "--days", "7"])).code).toBe(0);
  const [authority, nats, worker] = [read("ca.pem"), read("nats.pem"), read("worker.pem")];
  expect(authority.ca).toBe(true);
  for (const certificate of [nats, worker]) {
    expect(certificate.checkIssued(authority)).toBe(true);
    expect(certificate.verify(authority.publicKey)).toBe(true);
    expect(certificate.ca).toBe(false);
  }
  expect(nats.checkHost("broker.internal")).toBe("broker.internal");
  expect(nats.checkIP("127.0.0.1")).toBe("127.0.0.1");
  expect(worker.checkHost("worker")).toBe("worker");
  expect(worker.checkHost("localhost")).toBeUndefined();
  const [client, server] = ["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"];
  expect(worker.keyUsage).toEqual([client]);
  expect(nats.keyUsage).toEqual([client, server]);
  expect(Date.parse(worker.validTo) - Date.now()).toBeLessThanOrEqual(7 * 24 * 3_600_000);
  for (const name of ["ca.key", "worker.key"]) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
});

it("keeps the authority when it issues again", async () => {
  const [authority, worker] = [read("ca.pem").fingerprint256, read("worker.pem").fingerprint256];
  expect((await runMillrace(["certs", folder])).code).toBe(0);
  expect(read("ca.pem").fingerprint256).toBe(authority);
  expect(read("worker.pem").fingerprint256).not.toBe(worker);
  expect(read("worker.pem").verify(read("ca.pem").publicKey)).toBe(true);
});

it("refuses a host that is a service's name: by it the service is known", async () => {
  const { code, stderr } = await runMillrace(["certs", folder, "--host", "gateway"]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/name of a service/);
});
