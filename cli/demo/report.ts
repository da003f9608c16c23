/** What the demo proves, in figures: the document that `--json` prints, and the verdict over it. */

export interface DeviceFigure {
  readonly customer: string;
  readonly site: string;
  readonly group: string;
  readonly device: string;
  readonly application: string;
  readonly expected: string;
  /** What the provider's registry says after the device's signed confirmation; null: nothing. */
  readonly confirmed: string | null;
}
export interface LineFigure {
  readonly customer: string;
  readonly site: string;
  /** Bytes of content the site lacked: every chunk of every release of its groups, or of the patches that make it, each once. Manifests and signed metadata do not count. */
  readonly uniqueBytes: number;
  /** Bytes that the line carried towards the gateway: content, manifests, metadata, MQTT, TLS, handshakes, and what a cut wasted. */
  readonly lineBytes: number;
  /** Of uniqueBytes, what patches have, and the chunks that did not have to cross since patches make them. */
  readonly patchBytes: number;
  readonly replacedBytes: number;
}
/** Bytes of content by where a device had them from, in all its installations so far, as it has signed. */
export interface SwarmFigure {
  /** `customer/site/device` */
  readonly device: string;
  readonly gateway: number;
  readonly peer: number;
  /** Its own old files. */
  readonly own: number;
  /** What patches made beyond their own bytes. */
  readonly patch: number;
}
export interface CopiesFigure {
  readonly customer: string;
  readonly site: string;
  /** Bytes of content that the gateway sent to devices, and that its line had brought, each once; as it reports. Null before it did. */
  readonly sentBytes: number | null;
  readonly uniqueBytes: number | null;
  /** sentBytes / uniqueBytes */
  readonly copies: number | null;
}
export interface Swarm {
  readonly devices: readonly SwarmFigure[];
  readonly sites: readonly CopiesFigure[];
  /** Of all bytes that came over a LAN, the share that peers gave: 0 to 1. */
  readonly peerShare: number;
}
export interface TheftFigure {
  readonly road: string;
  /** What stopped it, as the thief saw it. */
  readonly barrier: string;
  /** Judged by content obtained, not by errors met. */
  readonly succeeded: boolean;
}
export interface RecoveryFigure {
  readonly what: string;
  readonly seconds: number;
  readonly recovered: boolean;
}
export interface Report {
  readonly seconds: number;
  readonly devices: readonly DeviceFigure[];
  readonly lines: readonly LineFigure[];
  readonly thefts: readonly TheftFigure[];
  readonly recoveries: readonly RecoveryFigure[];
  readonly swarm: Swarm;
}

/** Bytes over the line for each byte of content that a site lacked. */
export const MAX_LINE_RATIO = 1.05;
/** Roads that have to be tried. */
export const MIN_ROADS = 8;

/** Everything that does not hold, in sentences; empty: the demo proved what it set out to prove. Pure. */
export function shortcomings(report: Report): string[] {
  const found: string[] = [];
  if (report.devices.length === 0) found.push('no device was looked at');
  for (const d of report.devices) {
    if (d.confirmed !== d.expected)
      found.push(`${d.customer}/${d.site}/${d.device} confirmed ${d.application} ${d.confirmed ?? '(nothing)'} instead of ${d.expected}`);
  }
  if (report.lines.length === 0) found.push('no line was measured');
  for (const line of report.lines) {
    const ratio = line.lineBytes / line.uniqueBytes;
    if (!(ratio <= MAX_LINE_RATIO)) found.push(`the line of ${line.customer}/${line.site} carried ${ratio.toFixed(3)} bytes for each byte of content`);
    if (line.lineBytes < line.uniqueBytes * 0.5)
      found.push(`the line of ${line.customer}/${line.site} carried too little to be true: the content took another way`);
  }
  for (const { customer, site, patchBytes, replacedBytes } of report.lines)
    if (!(patchBytes > 0 && patchBytes < replacedBytes)) found.push(`the new versions did not cross the line of ${customer}/${site} as patches`);
  if (new Set(report.thefts.map((theft) => theft.road)).size < MIN_ROADS) found.push(`fewer than ${MIN_ROADS} roads were tried`);
  for (const theft of report.thefts) if (theft.succeeded) found.push(`the theft by ${theft.road} succeeded`);
  if (report.recoveries.length === 0) found.push('nothing was interrupted');
  for (const recovery of report.recoveries) if (!recovery.recovered) found.push(`not recovered: ${recovery.what}`);
  return found;
}
