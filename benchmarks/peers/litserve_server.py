"""What one writes with LitServe for the same model: started by `serve_vs_litserve.py`."""

from typing import Any

import litserve
from fastapi import UploadFile

from aiplat.serving.replica import join
from benchmarks.peers.opened import arguments, opened

REFERENCE, STORAGE, PORT, THREADS, IS_DEFAULT = arguments()


class Photos(litserve.LitAPI):
    """A predictor, in a process of its own."""

    def setup(self, device: str) -> None:
        """Open the model."""
        del device
        self.predictor = opened(REFERENCE, STORAGE, THREADS, "eager" if IS_DEFAULT else "auto")

    def decode_request(self, request: UploadFile) -> Any:
        """The tensors of the form's image."""
        return self.predictor.encode([{"image": request.file.read()}])

    def batch(self, inputs: list[Any]) -> Any:
        """The rows of several requests in one."""
        return join(inputs)

    def predict(self, x: Any) -> list[Any]:
        """One answer for each row."""
        return list(self.predictor.predict(x))

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Its answer for each request."""
        return output

    def encode_response(self, output: Any) -> Any:
        """The answer as JSON."""
        return {"predictions": output if isinstance(output, list) else [output]}


if __name__ == "__main__":
    api = Photos() if IS_DEFAULT else Photos(max_batch_size=16, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="warning")
