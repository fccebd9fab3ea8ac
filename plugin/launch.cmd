@echo off
rem Starts the server of the plugin on Windows: the executable that launch.ps1 prints.
rem stdout carries the protocol, and stdin belongs to the server.
setlocal
set "powershell=%SystemRoot%\System32\WindowsPowerShell\v1.0\powershell.exe"
set "options=-NoProfile -NonInteractive -ExecutionPolicy Bypass"
set "find=%powershell% %options% -File "%~dp0launch.ps1""
set "executable="
for /f "usebackq delims=" %%i in (`%find% ^< NUL`) do set "executable=%%i"
if not defined executable exit /b 1
"%executable%" %*
