// @peculiar/x509 needs it to be there first.
import "reflect-metadata";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { replaceFile } from "./replace-file.ts";

export interface CertificateOrder {
  /** Goes into the certificate as its name, by which others know the service. */
  readonly name: string;
  /** DNS names and addresses under which it is reached; none: it only calls. */
  readonly hosts: readonly string[];
  readonly days: number;
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const authorityDays = 3650;
const dayMs = 24 * 3_600_000;
/** Clocks of other machines may be behind. */
const earlyMs = 5 * 60_000;
const readable = 0o644;
const secret = 0o600;
const address = /^[\d.]+$|:/;

/** An authority in a folder, for development and tests: whoever reads `ca.key` there may be anybody. */
export class DevelopmentAuthority {
  readonly #folder: string;
  readonly #certificate: X509Certificate;
  readonly #key: CryptoKey;

  private constructor(folder: string, certificate: X509Certificate, key: CryptoKey) {
    this.#folder = folder;
    this.#certificate = certificate;
    this.#key = key;
  }

  /** The one that is in the folder, else a new one. */
  static async open(folder: string): Promise<DevelopmentAuthority> {
    const [certificatePath, keyPath] = [join(folder, "ca.pem"), join(folder, "ca.key")];
    const pem = await readFile(certificatePath, "utf8").catch(ignoreMissing);
    if (pem !== undefined) {
      const pkcs8 = PemConverter.decodeFirst(await readFile(keyPath, "utf8"));
      const key = await crypto.subtle.importKey("pkcs8", pkcs8, algorithm, false, ["sign"]);
      return new DevelopmentAuthority(folder, new X509Certificate(pem), key);
    }
    const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: "CN=Millrace development",
      ...validFor(authorityDays),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    await replaceFile(keyPath, await privateKeyPem(keys.privateKey), secret);
    await replaceFile(certificatePath, certificate.toString("pem"), readable);
    return new DevelopmentAuthority(folder, certificate, keys.privateKey);
  }

  /** Writes `<name>.pem` and `<name>.key` into the folder, over those of before. */
  async issue({ name, hosts, days }: CertificateOrder): Promise<void> {
    const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
    const usages = [ExtendedKeyUsage.clientAuth, ...(hosts.length > 0 ? [ExtendedKeyUsage.serverAuth] : [])];
    const names = [name, ...hosts].map((value) => ({ type: address.test(value) ? "ip" : "dns", value }) as const);
    const certificate = await X509CertificateGenerator.create({
      subject: `CN=${name}`,
      issuer: this.#certificate.subject,
      ...validFor(days),
      signingAlgorithm: algorithm,
      publicKey: keys.publicKey,
      signingKey: this.#key,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension(usages),
        new SubjectAlternativeNameExtension(names),
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
        await AuthorityKeyIdentifierExtension.create(this.#certificate.publicKey),
      ],
    });
    // The certificate last: until it is there, the pair does not fit, and who follows the files waits.
    await replaceFile(join(this.#folder, `${name}.key`), await privateKeyPem(keys.privateKey), secret);
    await replaceFile(join(this.#folder, `${name}.pem`), certificate.toString("pem"), readable);
  }
}

function validFor(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - earlyMs), notAfter: new Date(now + days * dayMs) };
}

async function privateKeyPem(key: CryptoKey): Promise<string> {
  return `${PemConverter.encode(await crypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY")}\n`;
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
  throw error;
}
