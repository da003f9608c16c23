export { Line, type LineOptions, type LineTraffic } from '../../cli/demo/line.ts';
