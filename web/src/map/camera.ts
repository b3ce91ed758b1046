import { OrthographicCamera, PerspectiveCamera, type Camera } from "three";

export type Place = [number, number, number];

/** What a view needs to be drawn again: the middle and the scale, and in three dimensions the direction. */
export interface Pose {
  at: Place;
  /** Pixels for each unit at the middle. */
  scale: number;
  yaw: number;
  pitch: number;
}

const FIELD_OF_VIEW = 35;

/** Where places of the map lie on the screen, for two components from above, for three around the middle. */
export class MapCamera {
  pose: Pose = { at: [0, 0, 0], scale: 60, yaw: 0.6, pitch: 0.5 };
  width = 1;
  height = 1;
  private readonly flat = new OrthographicCamera();
  private readonly deep = new PerspectiveCamera(FIELD_OF_VIEW);

  constructor(public spatial = false) {}

  /** The camera of three.js, up to date. */
  get camera(): Camera {
    const { at, scale } = this.pose;
    if (this.spatial) {
      const distance = this.distance();
      this.deep.aspect = this.width / this.height;
      this.deep.near = distance / 100;
      this.deep.far = distance * 20;
      this.deep.up.set(0, 0, 1);
      const eye = this.direction();
      this.deep.position.set(at[0] + distance * eye[0], at[1] + distance * eye[1], at[2] + distance * eye[2]);
      this.deep.lookAt(...at);
      this.deep.updateProjectionMatrix();
      this.deep.updateMatrixWorld();
      return this.deep;
    }
    const [halfWidth, halfHeight] = [this.width / 2 / scale, this.height / 2 / scale];
    Object.assign(this.flat, { left: -halfWidth, right: halfWidth, top: halfHeight, bottom: -halfHeight, near: -10, far: 10 });
    this.flat.position.set(at[0], at[1], 0);
    this.flat.updateProjectionMatrix();
    this.flat.updateMatrixWorld();
    return this.flat;
  }

  /** How far the eye is from the middle, in three dimensions. */
  distance(): number {
    return this.height / 2 / this.pose.scale / Math.tan((FIELD_OF_VIEW / 360) * Math.PI);
  }

  private direction(): Place {
    const { yaw, pitch } = this.pose;
    return [Math.cos(pitch) * Math.sin(yaw), -Math.cos(pitch) * Math.cos(yaw), Math.sin(pitch)];
  }

  /** Rows of a matrix from places to pixels and depth, for many places at once. */
  screen(): (x: number, y: number, z: number, out: Float64Array | number[]) => void {
    const { width, height } = this;
    if (!this.spatial) {
      const { at, scale } = this.pose;
      return (x, y, _z, out) => {
        out[0] = width / 2 + (x - at[0]) * scale;
        out[1] = height / 2 - (y - at[1]) * scale;
        out[2] = 0;
      };
    }
    const camera = this.camera as PerspectiveCamera;
    const e = camera.projectionMatrix.clone().multiply(camera.matrixWorldInverse).elements;
    return (x, y, z, out) => {
      const w = e[3] * x + e[7] * y + e[11] * z + e[15];
      out[0] = (width / 2) * (1 + (e[0] * x + e[4] * y + e[8] * z + e[12]) / w);
      out[1] = (height / 2) * (1 - (e[1] * x + e[5] * y + e[9] * z + e[13]) / w);
      out[2] = w;
    };
  }

  /** The place under a pixel; in three dimensions on the plane through the middle that faces the eye. */
  place(x: number, y: number): Place {
    const { at, scale } = this.pose;
    const [right, up] = [(x - this.width / 2) / scale, (this.height / 2 - y) / scale];
    if (!this.spatial) return [at[0] + right, at[1] + up, 0];
    const { elements: m } = this.camera.matrixWorld;
    return [0, 1, 2].map((k) => at[k] + right * m[k] + up * m[4 + k]) as Place;
  }

  /** Show these ranges of the axes, between what covers the left and the right of the map. */
  fit(ranges: [number, number][], [left, right] = [0, 0]): void {
    const middle = ranges.map(([low, high]) => (low + high) / 2);
    const extent = ranges.map(([low, high]) => Math.max(high - low, 1e-6));
    this.pose.at = [middle[0] ?? 0, middle[1] ?? 0, this.spatial ? (middle[2] ?? 0) : 0];
    const across = this.spatial ? 0.8 * Math.hypot(...extent) : extent[0];
    const high = this.spatial ? across : (extent[1] ?? extent[0] / 3);
    this.pose.scale = 0.86 * Math.min((this.width - left - right) / across, this.height / high);
    this.pan((left - right) / 2, 0);
  }

  pan(right: number, down: number): void {
    const from = this.place(0, 0);
    const to = this.place(right, down);
    for (let k = 0; k < 3; k++) this.pose.at[k] -= to[k] - from[k];
  }

  orbit(right: number, down: number): void {
    this.pose.yaw -= right * 0.008;
    this.pose.pitch = Math.max(-1.5, Math.min(1.5, this.pose.pitch + down * 0.008));
  }

  /** Zoom so that the place under the pixel stays there. */
  zoom(factor: number, x = this.width / 2, y = this.height / 2): void {
    const before = this.place(x, y);
    this.pose.scale = Math.min(1e7, Math.max(1e-4, this.pose.scale * factor));
    const after = this.place(x, y);
    for (let k = 0; k < 3; k++) this.pose.at[k] += before[k] - after[k];
  }
}
