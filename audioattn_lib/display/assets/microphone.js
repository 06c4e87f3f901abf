// The microphone of the reader: recorded and decoded in the browser, and given to the kernel as samples.
const MOST_SECONDS = 60;

const render = ({ model, el }) => {
  const root = document.createElement("div");
  root.className = "audioattn aa-microphone";
  const button = document.createElement("button");
  button.type = "button";
  const note = document.createElement("span");
  note.setAttribute("aria-live", "polite");
  root.append(button, note);
  el.append(root);
  let recorder = null;
  let clock = null;

  const draw = () => {
    button.textContent = recorder ? "Stop" : "Record";
    button.classList.toggle("aa-on", recorder !== null);
  };
  const finish = async (chunks, type) => {
    const context = new AudioContext();
    try {
      const decoded = await context.decodeAudioData(await new Blob(chunks, { type }).arrayBuffer());
      const samples = new Float32Array(decoded.length);
      for (let channel = 0; channel < decoded.numberOfChannels; channel++) {
        const part = decoded.getChannelData(channel);
        for (let i = 0; i < samples.length; i++) samples[i] += part[i] / decoded.numberOfChannels;
      }
      model.set("sample_rate", decoded.sampleRate);
      model.set("samples", new DataView(samples.buffer));
      model.save_changes();
      note.textContent = `${decoded.duration.toFixed(1)} s recorded`;
    } catch (error) {
      note.textContent = `The recording cannot be read (${error.message}); record again.`;
    } finally {
      context.close();
    }
  };
  const stop = () => recorder?.state === "recording" && recorder.stop();
  const start = async () => {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
    } catch (error) {
      note.textContent = `No microphone (${error.message}); allow it in the browser, or upload a file.`;
      return;
    }
    const chunks = [];
    recorder = new MediaRecorder(stream);
    const since = performance.now();
    recorder.addEventListener("dataavailable", (event) => chunks.push(event.data));
    recorder.addEventListener("stop", () => {
      for (const track of stream.getTracks()) track.stop();
      clearInterval(clock);
      const { mimeType } = recorder;
      recorder = null;
      draw();
      finish(chunks, mimeType);
    });
    recorder.start();
    clock = setInterval(() => {
      const seconds = (performance.now() - since) / 1000;
      note.textContent = `${seconds.toFixed(1)} s`;
      if (seconds > MOST_SECONDS) stop();
    }, 100);
    draw();
  };
  button.addEventListener("click", () => (recorder ? stop() : start()));
  draw();
  return () => stop();
};
export default { render };
