import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, chmod, constants, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { BusError } from "./bus-error.ts";
import type { BusLogger } from "./bus-logger.ts";
import { DebianArchive } from "./debian-archive.ts";
import { debianNats, natsReleases } from "./nats-releases.ts";

const run = promisify(execFile);
const downloadTimeoutMs = 60_000;
const runTimeoutMs = 10_000;
/** Debian installs it where only root's PATH leads. */
const moreFolders = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"];

/**
 * A `nats-server` binary: from the PATH, else from `cacheDir`, else fetched into it. Nothing is installed and nothing needs root.
 * @throws BusError unavailable with each way that was tried and why it failed
 */
export async function findNatsServer(cacheDir: string, logger: BusLogger): Promise<string> {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== ""), ...moreFolders];
  for (const path of folders.map((folder) => join(folder, "nats-server"))) {
    if (await isExecutable(path)) return path;
  }
  return fetchNatsServer(cacheDir, logger);
}

/**
 * The binary that was fetched into `cacheDir` before, else the newest version that can be had of those that the matrix ran on: on
 * Debian as a package of the release that has it, elsewhere as the official release by pinned checksum.
 * @throws BusError unavailable with each way that was tried and why it failed
 */
export async function fetchNatsServer(cacheDir: string, logger: BusLogger): Promise<string> {
  const cached = join(cacheDir, "nats-server");
  if (await isExecutable(cached)) return cached;
  await mkdir(cacheDir, { recursive: true });
  const causes: unknown[] = [];
  for (const { way, fetchInto } of waysToFetch()) {
    const folder = await mkdtemp(join(cacheDir, "fetch-"));
    try {
      logger.info({ way }, "fetching nats-server");
      const binary = await fetchInto(folder);
      await chmod(binary, 0o755);
      // A binary of a newer Debian may want a newer C library than this machine has.
      await run(binary, ["--version"], { timeout: runTimeoutMs });
      // Whole or not at all, though others may fetch at the same time.
      await rename(binary, cached);
      return cached;
    } catch (cause) {
      causes.push(cause);
      logger.warn({ way, err: cause }, "could not fetch nats-server");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  throw new BusError(
    "unavailable",
    "no nats-server: set NATS_URL, or put nats-server 2.9.10 or newer on the PATH; fetching it failed too",
    { cause: new AggregateError(causes) },
  );
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

interface WayToFetch {
  readonly way: string;
  /** @returns the binary, somewhere below `folder` */
  readonly fetchInto: (folder: string) => Promise<string>;
}

/** The newest first. */
function waysToFetch(): WayToFetch[] {
  const packages = debianNats.map(({ version, release }) => ({
    version,
    way: `Debian package ${version}`,
    fetchInto: (folder: string) => fetchDebianPackage(folder, release, version),
  }));
  const official = natsReleases[`${process.platform}-${process.arch}`];
  const version = official?.version ?? "0";
  const ways = [...packages, { version, way: `official release ${version}`, fetchInto: fetchRelease }];
  return ways
    .filter((way) => way.version !== "0")
    .toSorted((a, b) => b.version.localeCompare(a.version, "en", { numeric: true }));
}

async function fetchDebianPackage(folder: string, release: string, version: string): Promise<string> {
  const archive = await DebianArchive.open(release, join(folder, "apt"));
  const offered = await archive.version("nats-server");
  if (offered === undefined || !offered.startsWith(`${version}-`)) {
    throw new Error(`${release} has ${offered ?? "none"}, should have ${version}`);
  }
  await archive.unpack(["nats-server"], join(folder, "unpacked"));
  return join(folder, "unpacked/usr/sbin/nats-server");
}

async function fetchRelease(folder: string): Promise<string> {
  const platform = `${process.platform}-${process.arch}`;
  const release = natsReleases[platform];
  if (release === undefined) throw new Error(`no pinned release for ${platform}`);
  const name = `nats-server-v${release.version}-${release.file}`;
  const url = `https://github.com/nats-io/nats-server/releases/download/v${release.version}/${name}.tar.gz`;
  const response = await fetch(url, { signal: AbortSignal.timeout(downloadTimeoutMs) });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  if (sha256 !== release.sha256) throw new Error(`${url}: sha256 is ${sha256}, should be ${release.sha256}`);
  await writeFile(join(folder, "release.tar.gz"), bytes);
  await run("tar", ["-xzf", "release.tar.gz"], { cwd: folder, timeout: downloadTimeoutMs });
  return join(folder, name, "nats-server");
}
