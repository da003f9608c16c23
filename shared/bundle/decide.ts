import type { Bundle, BundleRelease } from './bundle.ts';
import type { Manifest } from './manifest.ts';
import { compareVersions } from './version.ts';

/** A release that the agent accepted: its verified manifest and the manifest's own hash. */
export interface AcceptedRelease {
  readonly application: string;
  readonly version: string;
  readonly manifestHash: string;
  readonly manifest: Manifest;
}

export interface InstalledRelease {
  readonly application: string;
  readonly version: string;
  readonly manifestHash: string;
}

/** Everything a decision depends on. */
export interface Situation {
  /** Verified by both chains, for this device's own customer, site and group. */
  readonly bundle: Bundle;
  /** By manifest hash, verified. */
  readonly manifests: ReadonlyMap<string, Manifest>;
  /** What the install handler finds on the device now. */
  readonly installed: readonly InstalledRelease[];
  /** Manifest hashes that failed to start too often on this device. */
  readonly bad: ReadonlySet<string>;
  readonly agentVersion: string;
}

export type RefusalCode = 'DOWNGRADE_REFUSED' | 'RELEASE_REFUSED' | 'METADATA_MISSING';

export type Decision =
  | { readonly action: 'nothing'; readonly application: string; readonly manifest: string }
  | {
      readonly action: 'install';
      readonly application: string;
      readonly manifest: string;
      readonly release: AcceptedRelease;
      /** Signed as wanted although something newer may run by the time its turn comes. */
      readonly allowDowngrade?: boolean;
    }
  | {
      readonly action: 'refuse';
      readonly application: string;
      readonly version: string;
      readonly manifest: string;
      readonly code: RefusalCode;
      readonly message: string;
    };

/** What to do about every release of a bundle, one decision each, in the bundle's order. What the bundle does not name is left alone. Pure. */
export function decide(situation: Situation): Decision[] {
  return situation.bundle.releases.map((release) => decideOne(situation, release));
}

function decideOne({ bundle, manifests, installed, bad, agentVersion }: Situation, wanted: BundleRelease): Decision {
  const { application, version, manifest: hash } = wanted;
  const running = installed.find((release) => release.application === application);
  if (running?.manifestHash === hash) return { action: 'nothing', application, manifest: hash };

  const refuse = (code: RefusalCode, message: string): Decision => ({ action: 'refuse', application, version, manifest: hash, code, message });
  if (bundle.withdrawn.some((entry) => entry.application === application && entry.manifest === hash)) {
    return refuse('RELEASE_REFUSED', `${application} ${version} was withdrawn`);
  }
  if (bad.has(hash)) return refuse('RELEASE_REFUSED', `${application} ${version} failed to start too often on this device`);
  const manifest = manifests.get(hash);
  if (manifest === undefined || manifest.application !== application || manifest.version !== version) {
    return refuse('METADATA_MISSING', `The manifest of ${application} ${version} is missing`);
  }
  if (manifest.minimumAgent !== undefined && compareVersions(agentVersion, manifest.minimumAgent) < 0) {
    return refuse('RELEASE_REFUSED', `${application} ${version} needs agent ${manifest.minimumAgent} or newer; this is ${agentVersion}`);
  }
  const downgrade = downgradeRefusal(wanted, running);
  if (downgrade !== undefined) return refuse('DOWNGRADE_REFUSED', downgrade);
  const release = { application, version, manifestHash: hash, manifest };
  return { action: 'install', application, manifest: hash, release, allowDowngrade: wanted.allowDowngrade };
}

/** Why an older release is refused that nobody signed as wanted; undefined: it is not. */
export function downgradeRefusal(
  { application, version, allowDowngrade }: Pick<BundleRelease, 'application' | 'version' | 'allowDowngrade'>,
  running: InstalledRelease | undefined,
): string | undefined {
  if (running === undefined || allowDowngrade || compareVersions(version, running.version) >= 0) return undefined;
  return `${application} ${version} is older than ${running.version}, which runs, and is not signed as a wanted downgrade`;
}
