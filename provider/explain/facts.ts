import type { DeviceIdentity, Scope } from '../../shared/base/identity.ts';
import type { Bundle } from '../../shared/bundle/bundle.ts';
import type { Manifest } from '../../shared/bundle/manifest.ts';
import type { RevocationList } from '../../shared/wire/revocation.ts';
import type { DeviceRow, Release, Standing } from '../registry/rows.ts';

/** A group at a site of which a bundle that is still served names the release. */
export interface Holder extends Scope {
  /** Of the newest such bundle. */
  readonly sequence: number;
  /** False: only the bundle before the group's current one names it. */
  readonly current: boolean;
}

/** All that the barriers between one device and one release depend on. Plain values, read at one time. */
export interface Facts {
  /** As its certificate says, if it is of the place that was asked about. */
  readonly device: DeviceIdentity;
  readonly registered: DeviceRow | undefined;
  readonly trustDomain: string;
  readonly release: Release;
  /** Verified against its hash. */
  readonly manifest: Manifest;
  readonly holders: readonly Holder[];
  /** What is served to the device's own group at its site; undefined: nothing was ever assigned. */
  readonly own: OwnBundle | undefined;
  /** The manifest that the signed role lists for this version, or why there is none. */
  readonly signed: { readonly role: number; readonly manifest: string | undefined } | { readonly error: string };
  readonly standing: Standing | undefined;
  /** What is revoked of the device, its group's CAs and its customer. */
  readonly revoked: RevocationList;
  /** When the order about the group's CAs came, and when the device's last statement was recorded, milliseconds since 1970: its certificate was good then. */
  readonly oldestCaAt: number | undefined;
  readonly heardAt: number | undefined;
}

export interface OwnBundle {
  readonly bundle: Bundle;
  /** Is the chunk in the current bundle, or the one before, which is served as well? */
  has(hash: string): boolean;
}
