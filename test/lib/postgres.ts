import { findPostgresBinaries, startTestPostgres, type Durability } from "@millrace/store/testing";

/** A PostgreSQL server of the caller's own with an empty database; undefined where none is installed. */
export async function startPostgres(
  durability?: Durability,
): Promise<(AsyncDisposable & { readonly url: string }) | undefined> {
  const binaries = findPostgresBinaries();
  return binaries === undefined ? undefined : startTestPostgres(binaries, durability);
}
