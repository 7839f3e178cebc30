import { findPostgresBinaries, startTestPostgres } from "@millrace/store/testing";

/** A PostgreSQL server of the test's own with an empty database; undefined where none is installed. */
export async function startPostgres(): Promise<(AsyncDisposable & { readonly url: string }) | undefined> {
  const binaries = findPostgresBinaries();
  return binaries === undefined ? undefined : startTestPostgres(binaries);
}
