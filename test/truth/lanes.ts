/** Who hears what a lane carries. */
export type Lane = 'ct-1>gateway' | 'ct-2>gateway' | 'gateway>provider' | 'provider>gateway' | 'gateway>ct-1' | 'gateway>ct-2';
export const LANES: readonly Lane[] = ['ct-1>gateway', 'ct-2>gateway', 'gateway>provider', 'provider>gateway', 'gateway>ct-1', 'gateway>ct-2'];

/** Messages under way, which a test delivers, loses, repeats and reorders; and all that were ever sent, for those who repeat old ones. */
export class Lanes {
  readonly #underWay = new Map<Lane, Buffer[]>(LANES.map((lane) => [lane, []]));
  readonly #ever = new Map<Lane, Buffer[]>(LANES.map((lane) => [lane, []]));

  send(lane: Lane, bytes: Buffer): void {
    this.underWay(lane).push(bytes);
    this.ever(lane).push(bytes);
  }

  underWay(lane: Lane): Buffer[] {
    return this.#underWay.get(lane) ?? [];
  }

  ever(lane: Lane): Buffer[] {
    return this.#ever.get(lane) ?? [];
  }

  /** Takes one out, whichever `pick` names. */
  take(lane: Lane, pick: number): Buffer | undefined {
    const messages = this.underWay(lane);
    return messages.length === 0 ? undefined : messages.splice(pick % messages.length, 1)[0];
  }

  get empty(): boolean {
    return LANES.every((lane) => this.underWay(lane).length === 0);
  }
}
