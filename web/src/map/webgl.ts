import { BufferAttribute, BufferGeometry, GLSL3, NormalBlending, Points, RawShaderMaterial, Scene, WebGLRenderer } from "three";
import type { MapCamera } from "./camera";
import { Budget, shuffled, type Renderer } from "./renderer";

const VERTEX = `
precision highp float;
uniform mat4 projectionMatrix;
uniform mat4 modelViewMatrix;
uniform float diameter;
uniform float middle;
in vec3 position;
in vec4 colour;
out vec4 shade;
void main() {
  shade = colour;
  gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);
  gl_PointSize = middle > 0.0 ? clamp(diameter * middle / gl_Position.w, 1.0, 4.0 * diameter) : diameter;
  if (colour.a == 0.0) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}`;

const FRAGMENT = `
precision highp float;
uniform float diameter;
uniform float opacity;
in vec4 shade;
out vec4 pixel;
void main() {
  float edge = length(gl_PointCoord - 0.5) * 2.0;
  float cover = diameter < 3.0 ? 1.0 : 1.0 - smoothstep(1.0 - 2.0 / diameter, 1.0, edge);
  if (cover <= 0.0) discard;
  pixel = vec4(shade.rgb, shade.a * cover * opacity);
}`;

/** Points of three.js with WebGL2. */
export class WebGlRenderer implements Renderer {
  readonly name = "WebGL2";
  readonly canvas: HTMLCanvasElement;
  private readonly renderer: WebGLRenderer;
  private readonly scene = new Scene();
  private readonly geometry = new BufferGeometry();
  private readonly material: RawShaderMaterial;
  private readonly order: Uint32Array;
  private readonly budget: Budget;
  private ratio = 1;

  constructor(n: number, lost: () => void) {
    this.canvas = document.createElement("canvas");
    const context = this.canvas.getContext("webgl2", { antialias: false, alpha: true, premultipliedAlpha: true });
    if (!context) throw new Error("WebGL2 is missing");
    this.renderer = new WebGLRenderer({ canvas: this.canvas, context, alpha: true });
    this.renderer.setClearColor(0, 0);
    this.canvas.addEventListener("webglcontextlost", lost);
    this.order = shuffled(n);
    this.budget = new Budget(n);
    this.material = new RawShaderMaterial({
      glslVersion: GLSL3,
      vertexShader: VERTEX,
      fragmentShader: FRAGMENT,
      uniforms: { diameter: { value: 4 }, opacity: { value: 1 }, middle: { value: 0 } },
      transparent: true,
      blending: NormalBlending,
      depthTest: false,
      depthWrite: false,
    });
    this.geometry.setAttribute("position", new BufferAttribute(new Float32Array(3 * n), 3));
    this.geometry.setAttribute("colour", new BufferAttribute(new Uint8Array(4 * n), 4, true));
    const points = new Points(this.geometry, this.material);
    points.frustumCulled = false;
    this.scene.add(points);
  }

  setPositions(positions: Float32Array): void {
    this.fill("position", positions, 3);
  }

  setColours(colours: Uint8Array): void {
    this.fill("colour", colours, 4);
  }

  private fill(name: string, values: Float32Array | Uint8Array, size: number): void {
    const attribute = this.geometry.getAttribute(name) as BufferAttribute;
    const array = attribute.array;
    for (let i = 0; i < this.order.length; i++) {
      const from = this.order[i] * size;
      for (let k = 0; k < size; k++) array[i * size + k] = values[from + k];
    }
    attribute.needsUpdate = true;
  }

  draw(camera: MapCamera, diameter: number, moving: boolean): void {
    const { uniforms } = this.material;
    const shown = this.budget.frame(moving);
    uniforms.diameter.value = diameter * this.ratio;
    uniforms.opacity.value = this.order.length > 50_000 ? 0.75 : 0.9;
    uniforms.middle.value = camera.spatial ? camera.distance() : 0;
    this.material.depthTest = this.material.depthWrite = camera.spatial;
    this.geometry.setDrawRange(0, shown);
    this.renderer.render(this.scene, camera.camera);
  }

  resize(width: number, height: number, ratio: number): void {
    this.ratio = ratio;
    this.renderer.setPixelRatio(ratio);
    this.renderer.setSize(width, height, false);
  }

  dispose(): void {
    this.geometry.dispose();
    this.material.dispose();
    this.renderer.dispose();
  }
}
