/**
 * Which percentile of all jobs a job lies in, by FNV-1a (32 bits) of its id: the same job always in the same, so that all of
 * its attempts run on one version.
 * @returns 0 to 99
 */
export function canaryShare(jobId: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < jobId.length; i++) hash = Math.imul(hash ^ jobId.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % 100;
}
