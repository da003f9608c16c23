import { fileURLToPath } from 'node:url';

/** Who and what takes part in the demo: two customers, three sites, two groups each, eight devices, three real applications. */

export interface DemoSite {
  readonly customer: string;
  readonly site: string;
}
export interface DemoDevice extends DemoSite {
  readonly group: string;
  readonly device: string;
}
export interface DemoRelease {
  readonly application: string;
  readonly version: string;
  /** A published npm package, installed under an alias: real files as their maker published them. */
  readonly directory: string;
}

/** Group A: scanners. Its bundle holds what group B shall never obtain. */
export const GROUP_A = 'imaging';
/** Group B: pumps. One of its devices turns thief. */
export const GROUP_B = 'infusion';

export const CUSTOMERS: readonly { readonly customer: string; readonly name: string }[] = [
  { customer: 'aster', name: 'Aster Clinics' },
  { customer: 'birch', name: 'Birch Hospital' },
];

export const NORTH: DemoSite = { customer: 'aster', site: 'north' };
export const SOUTH: DemoSite = { customer: 'aster', site: 'south' };
const MAIN: DemoSite = { customer: 'birch', site: 'main' };
export const SITES: readonly DemoSite[] = [NORTH, SOUTH, MAIN];

export const GROUPS: readonly { readonly group: string; readonly name: string }[] = [
  { group: GROUP_A, name: 'CT scanners' },
  { group: GROUP_B, name: 'infusion pumps' },
];

export const DEVICES: readonly DemoDevice[] = [
  { ...NORTH, group: GROUP_A, device: 'ct-1' },
  { ...NORTH, group: GROUP_A, device: 'ct-2' },
  { ...NORTH, group: GROUP_B, device: 'pump-1' },
  { ...NORTH, group: GROUP_B, device: 'pump-2' },
  { ...SOUTH, group: GROUP_A, device: 'ct-3' },
  { ...SOUTH, group: GROUP_B, device: 'pump-3' },
  { ...MAIN, group: GROUP_A, device: 'ct-1' },
  { ...MAIN, group: GROUP_B, device: 'pump-1' },
];

/** Killed in the middle of an installation. */
export const VICTIM: DemoDevice = { ...NORTH, group: GROUP_A, device: 'ct-2' };
/** A real device of group B with its real key, whose owner is now curious. */
export const THIEF: DemoDevice = { ...NORTH, group: GROUP_B, device: 'pump-2' };
/** The device of group A it would like to be. */
export const PREY: DemoDevice = { ...NORTH, group: GROUP_A, device: 'ct-1' };
/** Its line is cut in the middle of a transfer. */
export const CUT_SITE: DemoSite = MAIN;

const installed = (alias: string): string => fileURLToPath(new URL(`../../node_modules/${alias}`, import.meta.url));

export const FIRST: readonly DemoRelease[] = [
  { application: 'typescript', version: '5.9.2', directory: installed('demo-typescript-old') },
  { application: 'esbuild', version: '0.28.1', directory: installed('demo-esbuild-old') },
  { application: 'preact', version: '10.27.1', directory: installed('demo-preact-old') },
];
export const SECOND: readonly DemoRelease[] = [
  { application: 'typescript', version: '5.9.3', directory: installed('demo-typescript-new') },
  { application: 'esbuild', version: '0.28.2', directory: installed('demo-esbuild-new') },
  { application: 'preact', version: '10.27.2', directory: installed('demo-preact') },
];

/** Which applications a group is entitled to: one of its own and one that both have. */
export const ENTITLED: Readonly<Record<string, readonly string[]>> = { [GROUP_A]: ['typescript', 'preact'], [GROUP_B]: ['esbuild', 'preact'] };

export function entitled(group: string): readonly string[] {
  return ENTITLED[group] ?? [];
}

export function siteName({ customer, site }: DemoSite): string {
  return `${customer}/${site}`;
}

export function deviceName(device: DemoDevice): string {
  return `${siteName(device)}/${device.device}`;
}

export function sameSite(a: DemoSite, b: DemoSite): boolean {
  return a.customer === b.customer && a.site === b.site;
}
