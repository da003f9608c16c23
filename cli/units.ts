/** Bytes for people: `512 B`, `23.1 MB` (powers of 1000, as lines and disks are sold). */
export function bytesText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let value = bytes / 1000;
  let at = 0;
  while (value >= 999.95 && at < units.length - 1) {
    value /= 1000;
    at++;
  }
  return `${value.toFixed(1)} ${units[at]}`;
}

/** A share of a whole as whole per cent, never 100 before all is there. */
export function percent(done: number, total: number): number {
  return total <= 0 ? 100 : Math.min(100, Math.floor((done / total) * 100));
}

export function secondsText(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
