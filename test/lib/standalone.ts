import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, ServiceProcess } from "./process.ts";
import { Rest } from "./rest.ts";

/** Where a system under test is reached. */
export interface SystemUnderTest extends AsyncDisposable {
  readonly httpUrl: string;
  readonly grpcAddress: string;
  readonly natsUrl: string;
  /** The administrator's, as the first start wrote it. */
  readonly token: string;
  readonly rest: Rest;
}

/** The whole system in one process, as `npm start` runs it, with ports and a data folder of its own. */
export async function startStandaloneProcess(
  env: Record<string, string> = {},
  dataDir = mkdtempSync(join(tmpdir(), "millrace-test-")),
): Promise<SystemUnderTest & { readonly process: ServiceProcess; readonly dataDir: string }> {
  const [http, grpc, nats] = [await freePort(), await freePort(), await freePort()];
  const service = ServiceProcess.service("standalone", {
    MILLRACE_HTTP_PORT: String(http),
    MILLRACE_GRPC_PORT: String(grpc),
    MILLRACE_NATS_PORT: String(nats),
    MILLRACE_DATA_DIR: dataDir,
    ...env,
  });
  const httpUrl = `http://127.0.0.1:${http}`;
  await service.ready(`${httpUrl}/health/ready`);
  const token = adminToken(dataDir);
  return {
    httpUrl,
    grpcAddress: `127.0.0.1:${grpc}`,
    natsUrl: env["NATS_URL"] ?? `nats://127.0.0.1:${nats}`,
    token,
    rest: new Rest(httpUrl, token),
    process: service,
    dataDir,
    async [Symbol.asyncDispose]() {
      await service.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** Of the system of this data folder; empty when it asks nobody who they are. */
export function adminToken(dataDir: string): string {
  const path = join(dataDir, "credentials.json");
  if (!existsSync(path)) return "";
  return (JSON.parse(readFileSync(path, "utf8")) as { token: string }).token;
}
