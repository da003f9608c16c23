export interface Curve {
  readonly name: string;
  /** Devices, and time to the last of them in units of the limit. */
  readonly points: readonly (readonly [number, number])[];
}

const WIDTH = 760;
const HEIGHT = 420;
const LEFT = 60;
const RIGHT = 150;
const TOP = 30;
const BOTTOM = 50;
const COLOURS = ['#1b6ca8', '#2e8b57', '#c77700', '#b03060'];

/** Time over the number of devices, both logarithmic, as an SVG that stands alone. */
export function plot(curves: readonly Curve[]): string {
  const all = curves.flatMap(({ points }) => points);
  const most = Math.max(...all.map(([devices]) => devices));
  const top = 2 ** Math.ceil(Math.log2(Math.max(2, ...all.map(([, times]) => times))));
  const x = (devices: number): number => LEFT + (Math.log(devices) / Math.log(most)) * (WIDTH - LEFT - RIGHT);
  const y = (times: number): number => HEIGHT - BOTTOM - (Math.log2(Math.max(1, times)) / Math.log2(top)) * (HEIGHT - TOP - BOTTOM);
  const at = (value: number): string => value.toFixed(1);
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="#333">`,
    '<title>Time to the last device over the number of devices, simulated</title>',
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
  ];
  for (const devices of [1, 2, 4, 8, 16, 100, 1000, 5000].filter((each) => each <= most)) {
    lines.push(`<line x1="${at(x(devices))}" y1="${TOP}" x2="${at(x(devices))}" y2="${HEIGHT - BOTTOM}" stroke="#eee"/>`);
    lines.push(`<text x="${at(x(devices))}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${devices}</text>`);
  }
  for (let times = 1; times <= top; times *= 2) {
    lines.push(`<line x1="${LEFT}" y1="${at(y(times))}" x2="${WIDTH - RIGHT}" y2="${at(y(times))}" stroke="${times === 1 ? '#999' : '#eee'}"/>`);
    lines.push(`<text x="${LEFT - 8}" y="${at(y(times) + 4)}" text-anchor="end">${times}</text>`);
  }
  lines.push(`<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 10}" text-anchor="middle">devices (logarithmic)</text>`);
  lines.push(`<text transform="translate(18 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">time to the last device / shortest possible</text>`);
  curves.forEach(({ name, points }, index) => {
    const colour = COLOURS[index % COLOURS.length] ?? '#000';
    const path = points.map(([devices, times]) => `${at(x(devices))},${at(y(times))}`).join(' ');
    lines.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const [devices, times] of points) lines.push(`<circle cx="${at(x(devices))}" cy="${at(y(times))}" r="3" fill="${colour}"/>`);
    lines.push(
      `<line x1="${WIDTH - RIGHT + 16}" y1="${TOP + 20 * index}" x2="${WIDTH - RIGHT + 40}" y2="${TOP + 20 * index}" stroke="${colour}" stroke-width="2"/>`,
    );
    lines.push(`<text x="${WIDTH - RIGHT + 46}" y="${TOP + 20 * index + 4}">${name}</text>`);
  });
  return `${[...lines, '</svg>'].join('\n')}\n`;
}
