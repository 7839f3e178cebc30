import type { JsonValue } from "@bufbuild/protobuf";
import type { RunQuery } from "./run-query.ts";

/** A key of access tokens. */
export interface StoredSigningKey {
  readonly kid: string;
  /** A JWK with its private part; a text where it is encrypted. */
  readonly privateJwk: JsonValue;
  readonly createdAtMs: number;
}

/** Keys that sign access tokens, or have done so a short time ago. */
export class SigningKeys {
  readonly #run: RunQuery;

  constructor(run: RunQuery) {
    this.#run = run;
  }

  /** Newest first. */
  async list(): Promise<StoredSigningKey[]> {
    const rows = await this.#run((db) =>
      db.selectFrom("signing_keys").selectAll().orderBy("created_at", "desc").orderBy("kid").execute(),
    );
    return rows.map((row) => ({
      kid: row.kid,
      privateJwk: row.private_jwk,
      createdAtMs: row.created_at.getTime(),
    }));
  }

  async insert({ kid, privateJwk, createdAtMs }: StoredSigningKey): Promise<void> {
    await this.#run((db) =>
      db
        .insertInto("signing_keys")
        .values({ kid, private_jwk: JSON.stringify(privateJwk), created_at: new Date(createdAtMs) })
        .execute(),
    );
  }

  /** Another form of the same key. */
  async replace(kid: string, privateJwk: JsonValue): Promise<void> {
    await this.#run((db) =>
      db
        .updateTable("signing_keys")
        .set({ private_jwk: JSON.stringify(privateJwk) })
        .where("kid", "=", kid)
        .execute(),
    );
  }

  async delete(kid: string): Promise<void> {
    await this.#run((db) => db.deleteFrom("signing_keys").where("kid", "=", kid).execute());
  }
}
