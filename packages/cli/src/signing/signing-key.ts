import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { stat } from "node:fs/promises";
import { MillraceError, pluginKeyId, signPlugin, type PluginSignature, type SignedContent } from "@millrace/protocol";
import { readInput } from "../read-payload.ts";
import { writeOutput } from "../write-output.ts";

const ownerOnly = 0o600;

export interface NewKey {
  readonly keyId: string;
  readonly privatePath: string;
  readonly publicPath: string;
}

/** Makes an ed25519 key: PKCS #8 in PEM at `path`, for its owner only, and the public half at `<path>.pub`. */
export async function createSigningKey(path: string): Promise<NewKey> {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const publicPath = `${path}.pub`;
  // Never over an older key: what it signed could not be signed again.
  await writeOutput(path, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: ownerOnly, flag: "wx" });
  await writeOutput(publicPath, publicKey.export({ type: "spki", format: "pem" }), { flag: "wx" });
  return { keyId: await pluginKeyId(rawKey(publicKey)), privatePath: path, publicPath };
}

/** @throws MillraceError when the file is no ed25519 key, or others may read it */
export async function signWithKey(content: SignedContent, path: string): Promise<PluginSignature> {
  const pem = Buffer.from(await readInput(path));
  const { mode } = await stat(path);
  if (process.platform !== "win32" && (mode & 0o077) !== 0) {
    throw new MillraceError("permission_denied", `${path} may be read by others; chmod 600 ${path}`);
  }
  const privateKey = parseKey(path, () => createPrivateKey(pem));
  const [signing, verifying] = await Promise.all([
    crypto.subtle.importKey("pkcs8", privateKey.export({ type: "pkcs8", format: "der" }), "Ed25519", false, ["sign"]),
    crypto.subtle.importKey("raw", Uint8Array.from(rawKey(createPublicKey(privateKey))), "Ed25519", true, ["verify"]),
  ]);
  return signPlugin(content, { privateKey: signing, publicKey: verifying });
}

/** The 32 bytes of a public key, from the `.pub` file. A private key is refused: it has no business there. */
export async function readPublicKey(path: string): Promise<Uint8Array> {
  const pem = Buffer.from(await readInput(path)).toString();
  if (pem.includes("PRIVATE KEY")) {
    throw new MillraceError("invalid_argument", `${path} is a private key; name the public one, ${path}.pub`);
  }
  return rawKey(parseKey(path, () => createPublicKey(pem)));
}

function parseKey(path: string, parse: () => KeyObject): KeyObject {
  let key: KeyObject;
  try {
    key = parse();
  } catch (cause) {
    throw new MillraceError("invalid_argument", `${path} is no key in PEM`, { cause });
  }
  if (key.asymmetricKeyType === "ed25519") return key;
  throw new MillraceError("invalid_argument", `${path} is a key of ${key.asymmetricKeyType ?? "no kind"}, not ed25519`);
}

/** Of a public key (RFC 8037: "x" is the raw key). */
function rawKey(publicKey: KeyObject): Uint8Array {
  return Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
}
