/** The nearest-rank percentile of ascending numbers; NaN of none. @param share 0..1 */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}
