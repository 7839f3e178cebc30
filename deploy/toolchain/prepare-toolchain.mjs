// Finds or fetches Node 24 and pnpm, and brings the workspace's packages up to the lockfile.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";

const nodeVersion = "24.21.0";
const pnpmVersion = "12.21.0";
const windows = process.platform === "win32";

/** A problem of the machine, told in one sentence; everything else is a bug and keeps its stack. */
export class ToolchainError extends Error {}

/**
 * Answers with the Node to run and the folders to put first on PATH.
 * @param {string} root the repository
 * @returns {Promise<{ node: string, binDir: string[] }>}
 */
export async function prepareToolchain(root) {
  const home = path.join(root, ".millrace", "toolchain");
  const stampFile = path.join(home, "stamp.json");
  const own = Number(process.versions.node.split(".")[0]) >= 24;
  const wanted = { lock: lockDigest(root), pnpm: pnpmVersion };

  const ready = (node) => ({ node, binDir: [path.dirname(node), path.join(home, "node_modules", ".bin")] });
  const installed = () => {
    const stamp = readJson(stampFile);
    if (stamp?.lock !== wanted.lock || !existsSync(path.join(root, "node_modules", ".modules.yaml"))) return undefined;
    if (own) return process.execPath;
    return stamp.version === nodeVersion && existsSync(stamp.node ?? "") ? stamp.node : undefined;
  };

  const fast = installed();
  if (fast !== undefined) return ready(fast);

  mkdirSync(home, { recursive: true });
  const release = await takeLock(path.join(home, "lock"));
  try {
    // Another process may have done the work while this one waited.
    const done = installed();
    if (done !== undefined) return ready(done);
    const node = own ? process.execPath : await provideNode(home);
    if (!workspaceMatchesLock(root)) await installWorkspace(root, home, node);
    const stamp = own ? { ...wanted } : { ...wanted, node, version: nodeVersion };
    writeFileSync(stampFile, `${JSON.stringify(stamp, null, 2)}\n`);
    return ready(node);
  } finally {
    release();
  }
}

/** Everything that decides what an install puts in place. */
function lockDigest(root) {
  const hash = createHash("sha256");
  for (const file of ["pnpm-lock.yaml", "pnpm-workspace.yaml"]) hash.update(readFileSync(path.join(root, file)));
  return hash.digest("hex");
}

/** pnpm keeps a copy of the lockfile it has fulfilled, written as its last step. */
function workspaceMatchesLock(root) {
  try {
    const fulfilled = readFileSync(path.join(root, "node_modules", ".pnpm", "lock.yaml"), "utf8");
    return fulfilled === readFileSync(path.join(root, "pnpm-lock.yaml"), "utf8");
  } catch {
    return false;
  }
}

async function provideNode(home) {
  const binary = (name) => path.join(home, "node_modules", name, "bin", windows ? "node.exe" : "node");
  // npm's `node` fetches its binary in an install script. Where npm does not run those, the binary has its own package.
  const prefix = process.platform === "darwin" && process.arch === "arm64" ? "node-bin" : "node";
  const platformPackage = `${prefix}-${windows ? "win" : process.platform}-${process.arch}`;
  const working = () => ["node", platformPackage].map(binary).find((file) => versionOf(file) === `v${nodeVersion}`);

  for (const name of ["node", platformPackage]) {
    const found = working();
    if (found !== undefined) return found;
    await npmInstall(home, [`${name}@${nodeVersion}`, `pnpm@${pnpmVersion}`]);
  }
  const found = working();
  if (found !== undefined) return found;
  throw new ToolchainError(
    `npm's Node ${nodeVersion} does not run on this machine (${process.platform}-${process.arch}). ` +
      "Start this with a Node 24 or newer of your own: it is then used as it is.",
  );
}

async function installWorkspace(root, home, node) {
  const pnpm = path.join(home, "node_modules", ".bin", windows ? "pnpm.cmd" : "pnpm");
  if (versionOf(pnpm) !== pnpmVersion) await npmInstall(home, [`pnpm@${pnpmVersion}`]);
  progress("installing packages …");
  // Without a terminal to ask, pnpm acts as in CI: it may replace a node_modules folder that it did not make.
  const env = { ...process.env, CI: "true", PATH: [path.dirname(node), process.env.PATH].join(path.delimiter) };
  await attempt("pnpm install", pnpm, ["install", "--frozen-lockfile"], { cwd: root, env, shell: windows });
}

async function npmInstall(home, packages) {
  progress(`fetching ${packages.join(" and ").replaceAll("@", " ")} …`);
  const fromNpm = process.env.npm_execpath ?? "";
  const [command, first] = /npm-cli\.[cm]?js$/.test(fromNpm) ? [process.execPath, [fromNpm]] : ["npm", []];
  const flags = ["--no-save", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"];
  const args = [...first, "install", "--prefix", home, ...flags, ...packages];
  await attempt(`npm install ${packages.join(" ")}`, command, args, {
    cwd: home,
    shell: windows && first.length === 0,
  });
}

/** Runs a command, keeps its output for the case that it fails. */
function attempt(title, command, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => (output = (output + text).slice(-8_000)));
    }
    child.once("error", (cause) => {
      const missing = cause.code === "ENOENT" && command === "npm";
      reject(
        new ToolchainError(
          missing ? "npm is not on the PATH; it comes with Node (nodejs.org)." : `${title}: ${cause.message}`,
        ),
      );
    });
    child.once("close", (code) => {
      if (code === 0) return resolve();
      const offline =
        /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|ENOTCACHED|network (request|connectivity)/i.test(
          output,
        );
      const hint = offline
        ? "\nThe package registry cannot be reached: check the network, or the registry set for npm."
        : "";
      reject(new ToolchainError(`${title} failed (exit code ${code}):\n${output.trim()}${hint}`));
    });
  });
}

function versionOf(binary) {
  if (!existsSync(binary)) return undefined;
  const result = spawnSync(binary, ["--version"], {
    encoding: "utf8",
    timeout: 20_000,
    shell: windows && binary.endsWith(".cmd"),
  });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

/** One installer at a time per checkout. A lock whose owner is gone is taken over. */
async function takeLock(folder) {
  const deadline = Date.now() + 10 * 60_000;
  for (let told = false; ; told = true) {
    try {
      mkdirSync(folder);
      writeFileSync(path.join(folder, "pid"), String(process.pid));
      return () => rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    if (ownerIsGone(folder)) rmSync(folder, { recursive: true, force: true });
    else if (Date.now() > deadline) throw new ToolchainError(`another process has held ${folder} for ten minutes.`);
    else {
      if (!told) progress("another process is installing; waiting …");
      await delay(200);
    }
  }
}

function ownerIsGone(folder) {
  try {
    process.kill(Number(readFileSync(path.join(folder, "pid"), "utf8")), 0);
    return false;
  } catch (error) {
    if (error.code === "EPERM") return false;
    // The owner writes its id right after it made the folder; only an old folder without one is abandoned.
    if (error.code === "ENOENT")
      return Date.now() - (statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()) > 5_000;
    return true;
  }
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

function progress(text) {
  process.stderr.write(`millrace: ${text}\n`);
}
