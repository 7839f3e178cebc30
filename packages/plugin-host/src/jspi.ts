/**
 * JavaScript Promise Integration (https://webassembly.github.io/js-promise-integration/js-api/): TypeScript's library does not
 * have it yet.
 */
interface PromiseIntegration {
  /** Makes an export return a promise, so that the imports it calls may wait. */
  promising(exported: () => unknown): () => Promise<unknown>;
}

export const { promising } = WebAssembly as unknown as PromiseIntegration;
