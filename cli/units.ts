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

/** Parts of a whole in whole per cent that add up to 100: who lost most by rounding gets what is left. Nothing at all: zeros. */
export function shares(parts: readonly number[]): number[] {
  const total = parts.reduce((sum, part) => sum + part, 0);
  if (total <= 0) return parts.map(() => 0);
  const exact = parts.map((part) => (part / total) * 100);
  const whole = exact.map(Math.floor);
  const lost = exact.map((value, at) => ({ at, by: value - Math.floor(value) })).sort((a, b) => b.by - a.by || a.at - b.at);
  const left = 100 - whole.reduce((sum, value) => sum + value, 0);
  for (const { at } of lost.slice(0, left)) whole[at] = (whole[at] ?? 0) + 1;
  return whole;
}

/** How often something went, for people: `1.04 ×`. */
export function timesText(times: number): string {
  return `${times.toFixed(2)} ×`;
}

export function secondsText(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
